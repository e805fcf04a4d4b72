"""Tests of jobs: a handler alone, jobs in memory with a clock of their own, a real server.

Install it with `durable-jobs[testing]`. What only one of them needs is loaded when it is first
used: pytest loads this package at its start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .attempts import Ran
    from .effects import Effect, Effects
    from .live import LiveJobs
    from .recorder import Call
    from .simulation import Simulation
    from .single import Outcome, run_job

_PLACES = {
    "Call": ".recorder",
    "Effect": ".effects",
    "Effects": ".effects",
    "LiveJobs": ".live",
    "Outcome": ".single",
    "Ran": ".attempts",
    "Simulation": ".simulation",
    "run_job": ".single",
}

__all__ = ["Call", "Effect", "Effects", "LiveJobs", "Outcome", "Ran", "Simulation", "run_job"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name], __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
