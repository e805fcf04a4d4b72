"""Event IDs and timestamps that are the same whenever the same event is made again."""

import uuid
from datetime import UTC, datetime, timedelta
from hashlib import sha256

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def uuid7_at(when: datetime, seed: bytes | str) -> str:
    """A UUIDv7 (RFC 9562) made of `when`, to the millisecond, and a hash of `seed`.

    The same arguments give the same ID, so that a retry or a replay repeats it.
    Raises `ValueError` for a naive datetime, or one outside the 48 bits of milliseconds.
    """
    milliseconds = (_aware(when) - _EPOCH) // _MILLISECOND
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError(f"a UUIDv7 cannot hold the time {when.isoformat()}")
    digest = sha256(seed.encode() if isinstance(seed, str) else seed).digest()
    chance = int.from_bytes(digest[:10], "big")
    high = chance >> 62 & 0xFFF
    low = chance & (1 << 62) - 1
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | high << 64 | 0b10 << 62 | low))


def iso_ms(when: datetime) -> str:
    """The time as `2026-01-01T00:00:00.123Z`: UTC, milliseconds, cut and not rounded.

    Raises `ValueError` for a naive datetime.
    """
    text = _aware(when).astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def _aware(when: datetime) -> datetime:
    if when.utcoffset() is None:
        raise ValueError("a datetime must have a time zone, such as datetime.now(UTC)")
    return when
