"""One type of a job's as JSON: written so that it is read back the same, or not at all."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from ..faults import faults_of
from ..wire import JSON, dumps, too_deep
from .sameness import Difference, difference
from .schemas import Node, class_of, is_plain, quick_look, words_in
from .unwritable import TOO_DEEP, not_finite_in, place_in, unwritable

_SHOWN = 5
_SHORT = 1_000
"""Bytes of plain JSON that surely come back: numbers of very many digits do not."""

_ADVICE = ". JSON must give back what was written: mend the value, or its type's serializers"


class UnreadableError(Exception):
    """What a value's JSON would not give back; says where and why, without the value."""


class Form:
    """A type of events, states or replies."""

    def __init__(self, adapter: TypeAdapter[Any], what: str) -> None:
        # Looked up once: an event is written within microseconds.
        self._judge = adapter.validator.validate_python
        self._read = adapter.validator.validate_json
        self._write = adapter.serializer.to_json
        self._what = what
        schema: Node = adapter.core_schema  # type: ignore[assignment]
        self._words = words_in(schema)
        self._plain = is_plain(schema)
        self._class = class_of(schema)
        self._held = quick_look(schema)

    def judge(self, value: Any) -> Any:
        """The value as the type takes it; raises `UnreadableError`."""
        try:
            return self._judge(value)
        except ValidationError as error:
            raise UnreadableError(self.describe(error, value)) from None
        except Exception as error:
            raise UnreadableError(self._raised(error)) from error

    def write_judged(self, value: Any) -> bytes:
        """The JSON of a value as the type takes it; raises as `judge` and `write`."""
        judged = value if type(value) is self._class else self.judge(value)
        if self._plain and len(encoded := self._encode_plain(judged)) < _SHORT:
            return encoded
        return self.write(judged)

    def write(self, value: Any) -> bytes:
        """The JSON of a value, which was read back from it.

        Raises:
            UnreadableError: another value came back, or none.
        """
        return self._write_at_a_glance(value) or self._write_closely(value)

    def _write_at_a_glance(self, value: Any) -> bytes | None:
        """The JSON where it is easily seen to be right; else a closer look says what is wrong."""
        if (held := self._held) is None:
            return None
        try:
            # Of a part of another type pydantic only warns: it does not come back the same.
            encoded = self._write(value, by_alias=True, warnings=False)
            back = self._read(encoded)
            same = type(value) is type(back) and held(value) == held(back)
            return encoded if same and b"Inf" not in encoded and not too_deep(encoded) else None
        except Exception:
            return None

    def _write_closely(self, value: Any) -> bytes:
        encoded = self._encode(value)
        if too_deep(encoded):
            raise UnreadableError(f"{self._what} {TOO_DEEP}")
        found = _difference(value, self._read_back(encoded, value))
        if found is not None:
            fault = f"{place_in(found.path, self._words) or self._what} {found.text}"
            raise UnreadableError(self._explained(value, fault))
        return encoded

    def read(self, data: JSON) -> Any:
        """A value out of JSON; raises `ValidationError`."""
        # By way of JSON, where "2026-01-01" is a date and a list a tuple, also in strict models.
        return self._read(dumps(data))

    def describe(self, error: ValidationError, value: Any) -> str:
        """What is wrong with a value and where, without the value itself."""
        found = faults_of(error, value, self._words, whole=self._what, most=_SHOWN)
        more = error.error_count() - len(found)
        return "; ".join(found) + (f" (and {more} more)" if more else "")

    def _encode_plain(self, value: Any) -> bytes:
        try:
            return dumps(value)
        except ValueError as error:
            raise UnreadableError(self._unwritable(value, error)) from None

    def _encode(self, value: Any) -> bytes:
        try:
            encoded = self._write(value, by_alias=True, warnings=False)
            if b"NaN" in encoded or b"Infinity" in encoded:
                from_json(encoded, allow_inf_nan=False)
        except Exception as error:
            raise UnreadableError(self._unwritable(value, error)) from error
        return encoded

    def _read_back(self, encoded: bytes, value: Any) -> Any:
        try:
            return self._read(encoded)
        except ValidationError as error:
            fault = self.describe(error, _parsed(encoded))
            raise UnreadableError(self._explained(value, fault)) from None
        except Exception as error:
            raise UnreadableError(self._raised(error)) from error

    def _unwritable(self, value: Any, error: Exception) -> str:
        return unwritable(value, str(error), self._words, self._what) + _ADVICE

    def _explained(self, value: Any, fault: str) -> str:
        # NaN is written as null: of that the fault would tell.
        return (not_finite_in(value, self._words, self._what) or fault) + _ADVICE

    def _raised(self, error: Exception) -> str:
        return f"{self._what}: a validator raised {type(error).__name__}"


def _parsed(encoded: bytes) -> JSON:
    try:
        return from_json(encoded)
    except ValueError:
        # A number of more digits than readers take.
        return None


def _difference(value: Any, back: Any) -> Difference | None:
    try:
        return difference(value, back)
    except RecursionError:
        # Objects of the user's that know each other: they alone can tell.
        return None
