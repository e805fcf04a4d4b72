"""How Sphinx makes the site from these pages: `make docs`."""

import re
from importlib import metadata
from pathlib import Path
from posixpath import dirname, join, normpath

from docutils import nodes
from sphinx.application import Sphinx

# Before autodoc, which changes the annotations of pydantic's models: FastAPI's own then fail.
import durable_jobs.contrib.fastapi  # noqa: F401

project = "durable-jobs"
author = "The durable-jobs developers"
project_copyright = author
release = metadata.version("durable-jobs")
repository = "https://github.com/durable-jobs/durable-jobs"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Pages are also read on the code host: a heading has the same anchor in both places.
myst_heading_anchors = 4

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = project
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": repository,
    "source_branch": "main",
    "source_directory": "docs/",
}

# Docstrings are plain text with `code` between single backticks.
default_role = "code"
add_module_names = False
autodoc_default_options = {
    "members": True,
    "undoc-members": True,
    "inherited-members": "BaseModel,Generic,Protocol,BaseException,OSError",
}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True


def link_into_the_repository(app: Sphinx, docname: str, source: list[str]) -> None:
    """Have links to files beside `docs/` lead to the code host; tests see that they are there."""

    def moved(link: re.Match[str]) -> str:
        path = normpath(join("docs", dirname(docname), link[1]))
        return link[0] if path.startswith("docs/") else f"]({repository}/blob/main/{path}"

    source[0] = re.sub(r"\]\((\.\./[^)#\s]*)", moved, source[0])


def draw_diagrams(app: Sphinx, doctree: nodes.document) -> None:
    """Put SVG files into their page, where they have the colours of its light or dark theme."""
    for image in list(doctree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            svg = (Path(app.srcdir) / image["uri"]).read_text()
            image.replace_self(nodes.raw("", f'<div class="life-frame">{svg}</div>', format="html"))


LIBRARYS_OWN = {
    *("check", "check_concurrency", "check_name", "fold", "following", "has", "handlers"),
    *("options", "spec", "event_type", "job_type", "reply_type", "state_type", "workflow"),
    *("rule", "starts_immediately", "identity", "redact", "withheld", "model_config"),
}


def is_not_for_users(
    app: Sphinx, what: str, name: str, member: object, skip: bool, options: object
) -> bool | None:
    """Whether a member is left out: the library calls it, and says so."""
    own = name in LIBRARYS_OWN or "library's own" in (getattr(member, "__doc__", None) or "")
    return True if own else None


class WholeAttributes:
    """Gives attributes back the text that napoleon splits at a colon, as if a type stood there."""

    def __init__(self, app: Sphinx) -> None:
        self._texts: dict[str, list[str]] = {}
        app.connect("autodoc-process-docstring", self._note, priority=400)
        app.connect("autodoc-process-docstring", self._restore, priority=600)

    def _note(
        self, app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
    ) -> None:
        if what in ("attribute", "property"):
            self._texts[name] = list(lines)

    def _restore(
        self, app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]
    ) -> None:
        lines[:] = self._texts.pop(name, lines)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", link_into_the_repository)
    app.connect("doctree-read", draw_diagrams)
    app.connect("autodoc-skip-member", is_not_for_users)
    WholeAttributes(app)
