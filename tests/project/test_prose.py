"""`make prose` finds long sentences and paragraphs where a reader would, and nothing else."""

import pytest

from tests.support.prose import blocks, report, user_pages, words

LONG = "One " + "more " * 35 + "word."
FITS = "One " + "more " * 33 + "word."


def faults(page: str) -> list[str]:
    return report("page.md", page).faults


def test_a_long_sentence_is_told_with_its_line() -> None:
    assert faults(f"# Title\n\nShort.\n{LONG}\n")[0].startswith("page.md:4: a sentence of 37 words")


def test_a_sentence_of_35_words_is_fine() -> None:
    assert faults(FITS) == []


def test_a_long_paragraph_is_told_once() -> None:
    assert faults(f"{FITS} {FITS}\n{FITS}") == ["page.md:1: a paragraph of 105 words"]


def test_items_of_a_list_and_cells_are_blocks_of_their_own() -> None:
    half = "one " * 20 + "more"
    assert faults(f"- {half}\n- {half}\n\n| {half} | {half} |\n| --- | --- |\n") == []
    assert [block.line for block in blocks("- a\n  b\n- c\n\n| d | e |\n")] == [1, 3, 5, 5]


@pytest.mark.parametrize("page", ["- {}", "1. {}", "> {}", "| a | {} |", "**Bold.** {}"])
def test_a_long_sentence_is_found_wherever_it_stands(page: str) -> None:
    [told] = faults(page.format(LONG))
    assert told.startswith("page.md:1: a sentence of")


@pytest.mark.parametrize("page", ["```python\n{}\n```\n", "    {}", "~~~\n{}\n~~~", "# {}"])
def test_code_and_headings_are_left_out(page: str) -> None:
    assert faults(page.format(LONG)) == []


def test_what_comes_after_a_block_of_code_is_read() -> None:
    assert len(faults(f"```\ncode\n```\n\n{LONG}")) == 1


def test_code_is_one_word_and_a_link_has_no_address() -> None:
    assert words("call `a b c` as [the page](page.md#here) says: - it works") == 8


def test_a_question_or_a_bracket_ends_a_sentence_too() -> None:
    texts = ["Is it?", "(It is.)", "`run` does.", "**Always.**", "See `a.b`, e.g. here."]
    [block] = blocks(" ".join(texts))
    assert [text.strip() for _, text in block.sentences()] == texts


def test_the_mean_counts_no_cells() -> None:
    assert report("page.md", "One two three four.\n\n| a | b |\n").sentence_mean == 4


def test_pages_about_the_inside_are_not_for_users() -> None:
    folders = {page.parent.name for page in user_pages()}
    assert {"jobs", "docs", "reference"} <= folders
    assert not {"inside", "decisions"} & folders
