"""Says what pydantic found wrong with a value, and where, without quoting the value."""

import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

_FIXED = {*get_args(ErrorType)} - {"assertion_error", "union_tag_invalid", "value_error"}
"""Errors whose text comes from pydantic and holds nothing of the value."""

_LEAVES = 1_000


def faults_of(error: ValidationError) -> list[str]:
    """The place and the fault of each error."""
    found = error.errors(include_url=False, include_context=False)
    return [": ".join(filter(None, (_place(item["loc"]), _text(item)))) for item in found]


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


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
