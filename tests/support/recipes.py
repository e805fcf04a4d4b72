"""The code that pages of docs show, as files."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def write_recipe(folder: Path, page: str, *names: str) -> None:
    """Write blocks of code that begin with `# {name}` into files of these names."""
    text = (DOCS / page).read_text()
    for name in names:
        [code] = re.findall(rf"```python\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as opened:
            opened.write(code)
