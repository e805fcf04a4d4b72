"""Says what pydantic found wrong with a value, and where, without quoting the value."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

_FIXED = {*get_args(ErrorType)} - {"assertion_error", "union_tag_invalid", "value_error"}
"""Errors whose text comes from pydantic and holds nothing of the value."""

_EXTRA = {"extra_forbidden", "unexpected_keyword_argument"}
_KEY = "…"

_LEAVES = 1_000


def faults_of(error: ValidationError) -> list[str]:
    """The place and the fault of each error."""
    found = error.errors(include_url=False, include_context=False)
    names = set(_field_names(BaseModel))
    return [": ".join(filter(None, (_place(item, names), _text(item)))) for item in found]


def _place(item: Any, names: set[str]) -> str:
    """Where the fault is. What may be a key of the value, and is no known field, is left out."""
    if not item["loc"]:
        return ""
    *path, last = item["loc"]
    shown = [part if isinstance(part, int) or part in names else _KEY for part in path]
    known = isinstance(last, int) or last in names or item["type"] == "missing"
    # Of a field that is one too many the name comes from the value, whatever it is elsewhere.
    return ".".join(map(str, [*shown, last if known and item["type"] not in _EXTRA else _KEY]))


def _field_names(model: type[BaseModel]) -> Iterator[str]:
    """The names and aliases of the fields of a model and of all that follow from it."""
    for name, field in getattr(model, "__pydantic_fields__", {}).items():
        yield name
        for alias in (field.alias, field.validation_alias):
            if isinstance(alias, str):
                yield alias
    for each in model.__subclasses__():
        yield from _field_names(each)


def _text(item: Any) -> str:
    message: str = item["msg"]
    if item["type"] in _FIXED or not _quotes(message, item["input"]):
        return message
    return f"{item['type'].replace('_', ' ')} (its text quotes the value)"


def _quotes(message: str, value: Any) -> bool:
    """Whether a text by a validator of the user's, or one with a tag, holds part of the value."""
    for count, leaf in enumerate(_leaves(value)):
        if count > _LEAVES:
            return True
        if leaf and re.search(rf"(?<!\w){re.escape(leaf)}(?!\w)", message):
            return True
    return False


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield str(key)  # pyright: ignore[reportUnknownArgumentType]
            yield from _leaves(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _leaves(item)
    elif value is not None:
        yield str(value)
