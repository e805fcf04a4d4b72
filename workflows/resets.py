"""Tells an instance that it begins with a reset, which is one to its first workflow task.

A later reset reaches it by its callback; this one comes before there is an instance.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_seed: ContextVar[int | None] = ContextVar("seed of a reset", default=None)


@contextmanager
def starting_with(seed: int) -> Generator[None]:
    """An instance that is made within this begins with the reset that brought the seed."""
    token = _seed.set(seed)
    try:
        yield
    finally:
        _seed.reset(token)


def seed_at_start() -> int | None:
    """The seed for the instance that is being made; None where no reset begins it."""
    return _seed.get()
