"""Looks for long sentences and paragraphs in the pages that users read: `make prose`.

A page is cut into paragraphs, list items and cells of tables. Code is left out, and `code` in a
sentence is one word, as is a link's text without its address.
"""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SENTENCE, PARAGRAPH = 35, 100
"""Words at most: more fails."""

MEAN, PAGE = 17, 1_200
"""Words that are aimed at: more is told."""

FENCE = re.compile(r"^\s*(```+|~~~+)")
ITEM = re.compile(r"^(\s*)(?:[-*+]|\d+\.)\s+")
END = re.compile(r"[.!?][)\"'*_]*\s+(?=[\"'(*_`\[]*[A-Z0-9`\[])")


@dataclass(frozen=True)
class Block:
    """A paragraph, an item of a list or a cell of a table, from `line` on."""

    line: int
    text: str
    cell: bool = False

    def sentences(self) -> Iterator[tuple[int, str]]:
        """Each sentence, with its line."""
        begin = 0
        ends = [match.end() for match in END.finditer(self.text)]
        for end in [*ends, len(self.text)]:
            yield self.line + self.text.count("\n", 0, begin), self.text[begin:end]
            begin = end


def words(text: str) -> int:
    """How many words a reader sees."""
    plain = re.sub(r"`[^`]+`", "code", text)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    return sum(any(each.isalnum() for each in word) for word in plain.split())


def prose_lines(page: str) -> Iterator[tuple[int, str]]:
    """The lines of a page, those of code and headings emptied."""
    fence = ""
    for number, line in enumerate(page.splitlines(), 1):
        opened = FENCE.match(line)
        if opened and not fence:
            fence = opened[1]
        elif opened and line.strip() == fence:
            fence = ""
        elif not fence and not line.startswith(("#", "    ", "<!--")):
            yield number, line
            continue
        yield number, ""


def blocks(page: str) -> Iterator[Block]:
    """The paragraphs, items and cells of a page."""
    begin, gathered = 0, list[str]()
    for number, line in [*prose_lines(page), (0, "")]:
        item = ITEM.match(line)
        if gathered and (item or not line.strip() or line.startswith("|")):
            yield Block(begin, "\n".join(gathered))
            gathered = []
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            yield from (Block(number, cell.strip(), cell=True) for cell in cells if words(cell))
        elif line.strip():
            begin = begin if gathered else number
            gathered.append(ITEM.sub("", line).strip() if item else line.strip())


@dataclass(frozen=True)
class Report:
    """What is to be said of one page."""

    faults: list[str]
    sentence_mean: float
    words: int


def report(name: str, page: str) -> Report:
    """Read a page."""
    faults, lengths, total = list[str](), list[int](), 0
    for block in blocks(page):
        length = words(block.text)
        total += length
        if length > PARAGRAPH and not block.cell:
            faults.append(f"{name}:{block.line}: a paragraph of {length} words")
        for line, sentence in block.sentences():
            count = words(sentence)
            if not block.cell:
                lengths.append(count)
            if count > SENTENCE:
                text = " ".join(sentence.split())
                faults.append(f"{name}:{line}: a sentence of {count} words: {text}")
    return Report(faults, sum(lengths) / max(len(lengths), 1), total)


def user_pages() -> list[Path]:
    """The pages for users: not those about the inside."""
    inside = ROOT / "docs" / "inside"
    docs = [page for page in ROOT.glob("docs/**/*.md") if inside not in page.parents]
    return [ROOT / "README.md", *sorted(docs), *sorted(ROOT.glob("examples/*/*.md"))]


def notes(name: str, found: Report) -> str:
    """What misses a target, without being a fault."""
    missed = [f"over {MEAN} words a sentence"] if found.sentence_mean > MEAN else []
    if found.words > PAGE and not name.startswith("docs/reference/"):
        missed.append(f"over {PAGE:,} words")
    return ", ".join(missed)


def told() -> tuple[list[str], list[str]]:
    """A line for each page, and what is wrong in them."""
    lines, faults = list[str](), list[str]()
    for page in user_pages():
        name = str(page.relative_to(ROOT))
        found = report(name, page.read_text())
        faults += found.faults
        line = f"{found.sentence_mean:6.1f} {found.words:7,}  {name}  {notes(name, found)}"
        lines.append(line.rstrip())
    return lines, faults


def main() -> int:
    """Say what was found; 1 where a page has a fault."""
    lines, faults = told()
    summary = f"{len(faults)} sentences over {SENTENCE} words or paragraphs over {PARAGRAPH}"
    shown = ["words a sentence, words, page", *lines, *faults, summary]
    sys.stdout.write("\n".join(shown) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
