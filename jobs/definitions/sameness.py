"""Whether a value came back from its JSON as it was, and where it did not."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

from pydantic import BaseModel

_ATOMS = frozenset((str, int, float, bool, bytes, type(None)))
_SEQUENCES = (list, tuple, deque)
_CONTAINERS = (dict, *_SEQUENCES, set, frozenset)


class _Missing:
    """In the place of a part that only one of two values has."""


MISSING: Final = _Missing()


@dataclass(slots=True)
class Difference:
    """The first place at which two values differ."""

    was: Any
    back: Any
    path: list[tuple[Any, Any]] = field(default_factory=list[tuple[Any, Any]])
    """Each step with what it was made in: (a list, 3), (a model, "name")."""

    @property
    def text(self) -> str:
        """How they differ, without a value."""
        if self.back is MISSING:
            return "is left out"
        if self.was is MISSING:
            return "is not set, but comes back"
        if _kind(self.was) is not _kind(self.back):
            return f"is {_name(self.back)}, got {_name(self.was)}"
        return "comes back with another value"


def difference(was: Any, back: Any) -> Difference | None:
    """The first difference of what was written and what came back, None where there is none.

    Looks at what values hold, as an `__eq__` of the user's may leave some of it out.
    """
    if was is back or (type(was) in _ATOMS and type(was) is type(back) and was == back):
        return None
    if _of_other_kind(was, back):
        return Difference(was, back)
    mine, theirs = contents(was), contents(back)
    if mine is None and _has_no_equality(was):
        # Of another two of them, locks say, nothing but what they hold can be told.
        mine, theirs = _attributes(was), _attributes(back)
    if mine is None or theirs is None:
        return None if _equal(was, back) else Difference(was, back)
    return _inside(was, mine, theirs)


def _inside(whole: Any, mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Difference | None:
    for key, was in mine.items():
        back = theirs.get(key, MISSING)
        found = Difference(was, back) if back is MISSING else difference(was, back)
        if found is not None:
            found.path.insert(0, (whole, key))
            return found
    if len(theirs) == len(mine):
        return None
    key = next(key for key in theirs if key not in mine)
    return Difference(MISSING, theirs[key], [(whole, key)])


def contents(value: Any) -> Mapping[Any, Any] | None:
    """What a value is made of, by key, index or name; None for one that is looked at as a whole."""
    if isinstance(value, dict):
        return cast("dict[Any, Any]", value)
    if isinstance(value, _SEQUENCES):
        return dict(enumerate(cast("list[Any]", value)))
    if isinstance(value, BaseModel):
        return _of_model(value)
    if (named := _of_class(value, "__dataclass_fields__")) is not None:
        return {name: getattr(value, name) for name in named if hasattr(value, name)}
    return None


def _attributes(value: Any) -> dict[str, Any]:
    return getattr(value, "__dict__", {})


def _of_class(value: Any, name: str) -> Any:
    return getattr(cast("Any", type(value)), name, None)


def _of_model(value: BaseModel) -> dict[str, Any]:
    held = vars(value)
    parts = {name: held[name] for name in type(value).__pydantic_fields__ if name in held}
    return parts | (value.__pydantic_extra__ or {}) | (value.__pydantic_private__ or {})


def _of_other_kind(was: Any, back: Any) -> bool:
    if type(was) is type(back):
        return False
    mine, theirs = _kind(was), _kind(back)
    if mine is theirs:
        return False
    if theirs in _CONTAINERS:
        # A defaultdict in the place of a dict reads back as one that is equal.
        return not isinstance(was, theirs)
    whole = contents(was) is None and contents(back) is None
    return not whole or _has_no_equality(was)


def _kind(value: Any) -> type[Any]:
    # Box(content=1) is a Box[int] as well.
    generic: dict[str, Any] = _of_class(value, "__pydantic_generic_metadata__") or {}
    return generic.get("origin") or cast("type[Any]", type(value))


def _name(value: Any) -> str:
    return "None" if value is None else type(value).__qualname__


def _has_no_equality(value: Any) -> bool:
    return type(value).__eq__ is object.__eq__


def _equal(was: Any, back: Any) -> bool:
    try:
        return bool(was == back) or _is_nan(was, back) or _same_moment(was, back)
    except Exception:
        # As arrays have it, which compare by element.
        return repr(was) == repr(back)


def _is_nan(was: Any, back: Any) -> bool:
    return bool(was != was and back != back)


def _same_moment(was: Any, back: Any) -> bool:
    # In the hour that comes twice, Python takes no two zones' times for equal.
    if not (isinstance(was, datetime) and isinstance(back, datetime)):
        return False
    aware = was.tzinfo is not None and back.tzinfo is not None
    return aware and was.astimezone(UTC) == back.astimezone(UTC)
