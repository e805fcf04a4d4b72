"""Says what pydantic found wrong with a value, and where, without quoting the value."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Final, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core.core_schema import ErrorType

_FIXED = {*get_args(ErrorType)} - {"assertion_error", "union_tag_invalid", "value_error"}
"""Errors whose text comes from pydantic and holds nothing of the value."""

_EXTRA = {"extra_forbidden", "unexpected_keyword_argument"}
_KEY = "…"

_LEAVES = 1_000


class _Unknown:
    """In the place of a value that is not at hand."""


UNKNOWN: Final = _Unknown()


def faults_of(
    error: ValidationError,
    value: Any = UNKNOWN,
    words: Collection[str] | None = None,
    whole: str = "",
    most: int | None = None,
) -> list[str]:
    """The place and the fault of each error, or of so many.

    `value` is what was judged, `words` are those of its type, such as its fields' names. With
    them a key, which is content, is told by its number. `whole` is the place of a fault that the
    value has as a whole.
    """
    found = error.errors(include_url=False, include_context=False)[:most]
    known = words if words is not None else set(_field_names(BaseModel))
    placed = ((_place(item, value, known) or whole, _text(item)) for item in found)
    return [": ".join(filter(None, each)) for each in placed]


def place_of(path: Sequence[Any], value: Any, words: Collection[str], extra: bool = False) -> str:
    """Where a path leads in a value; a key that is no word of its type is told by its number.

    With `extra` the last part is a field that is one too many: its name comes from the value.
    """
    shown: list[str] = []
    for left, part in zip(range(len(path), 0, -1), path, strict=True):
        word, value = _step(part, value, () if extra and left == 1 else words)
        shown.append(word)
    return ".".join(shown)


def nth_key(number: int) -> str:
    """How the key of a mapping is told of, from 1."""
    return f"<key {number}>"


def _step(part: Any, value: Any, words: Collection[str]) -> tuple[str, Any]:
    """The word for one step, and the value that it leads to."""
    if isinstance(value, Mapping):
        return _step_into(part, cast("Mapping[Any, Any]", value), words)
    if not isinstance(part, int):
        # A part that leads nowhere is a word of pydantic's own, such as a union's member.
        held: dict[str, Any] = getattr(value, "__dict__", {})
        return _word(part, words), held.get(part, value)
    listed = cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()
    return str(part), listed[part] if part < len(listed) else UNKNOWN


def _step_into(part: Any, value: Mapping[Any, Any], words: Collection[str]) -> tuple[str, Any]:
    for number, (key, inner) in enumerate(value.items(), 1):
        if part in (key, str(key), repr(key)):
            return (part if part in words else nth_key(number)), inner
    return _word(part, words), value


def _word(part: Any, words: Collection[str]) -> str:
    if part in words:
        return str(part)
    # list[int] is a member of a union that has lists.
    kind = str(part).partition("[")[0]
    return kind if kind in words else _KEY


def _place(item: Any, value: Any, words: Collection[str]) -> str:
    if value is UNKNOWN:
        return _place_in_unknown(item, words)
    return place_of(item["loc"], value, words, extra=item["type"] in _EXTRA)


def _place_in_unknown(item: Any, names: Collection[str]) -> str:
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
    if item["type"] in _FIXED and item["type"].endswith("_type"):
        return f"{message}, got {type(item['input']).__name__}"
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
