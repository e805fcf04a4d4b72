"""Finds what in a value JSON cannot hold, and says so without the value."""

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

from pydantic import BaseModel

from ..faults import nth_key
from ..wire import MAX_DEPTH
from .sameness import contents

TOO_DEEP = f"has more than {MAX_DEPTH} lists and objects inside each other"

_CALL = re.compile(r"Error calling function `(\w+)`: (\w+)")
_PARTS = 100_000
"""Of a value so many are looked at."""

Path = Sequence[tuple[Any, Any]]


def place_in(path: Path, words: Collection[str]) -> str:
    """Where a path leads; a key that is no word of the type is told by its number."""
    return ".".join(_word(whole, key, words) for whole, key in path)


def unwritable(value: Any, trouble: str, words: Collection[str], what: str) -> str:
    """Why a value could not be written, given the text of pydantic's error."""
    if "Circular reference" in trouble or "depth exceeded" in trouble:
        return f"{what} {TOO_DEEP}"
    if called := _CALL.search(trouble):
        return f"{what}: its serializer {called[1]} raised {called[2]}"
    for path, part in _parts(value):
        if fault := _fault(part, trouble):
            return f"{place_in(path, words) or what} {fault}"
    return f"{what} cannot be written as JSON"


def not_finite_in(value: Any, words: Collection[str], what: str) -> str | None:
    """Where a value has a number that JSON has not."""
    for path, part in _parts(value):
        if isinstance(part, float) and not math.isfinite(part):
            return f"{place_in(path, words) or what} {_fault(part, '')}"
    return None


def _parts(value: Any) -> Iterator[tuple[Path, Any]]:
    """What is at the ends of a value, with the way there."""
    waiting: list[tuple[Path, Any]] = [((), value)]
    for _ in range(_PARTS):
        if not waiting:
            return
        path, part = waiting.pop()
        inside = contents(part)
        if inside is None:
            yield path, part
        else:
            waiting += [((*path, (part, key)), inside[key]) for key in reversed(list(inside))]


def _fault(part: Any, trouble: str) -> str | None:
    if isinstance(part, float):
        return None if math.isfinite(part) else "is NaN or infinite, which JSON cannot hold"
    if isinstance(part, str):
        return "is no Unicode text, it holds a surrogate" if _is_no_text(part) else None
    if isinstance(part, bytes) and "utf-8" in trouble:
        return "is bytes that are no UTF-8"
    kind = cast("type[Any]", type(part))
    if repr(kind) in trouble:
        return f"is of the type {kind.__qualname__}, which JSON cannot hold"
    return None


def _is_no_text(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)


def _word(whole: Any, key: Any, words: Collection[str]) -> str:
    extra = whole.__pydantic_extra__ if isinstance(whole, BaseModel) else None
    keys = cast("dict[Any, Any]", whole) if isinstance(whole, dict) else extra or {}
    if key in keys and key not in words:
        return nth_key(1 + list(keys).index(key))
    return str(key)
