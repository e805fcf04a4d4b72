"""Whether an instance ended by itself, as the reason of its end says."""

import re
from datetime import datetime

from ..moments import milliseconds

_GAVE_UP = re.compile(r"retr(y|ies) exhausted", re.IGNORECASE)
_ENOUGH = re.compile(r"max_runs reached after (\d{1,18}) runs")
_UNTIL = re.compile(r"until (\S+) reached")
_IDLE = re.compile(r"idle for (-?\d+ days?, )?\d{1,2}:\d\d:\d\d(\.\d{6})?")


def gave_up(reason: str) -> bool:
    """Whether exhausted retries ended an instance."""
    return _GAVE_UP.match(reason) is not None


def planned(job_type: str, reason: str, runs: object, at: int) -> bool:
    """Whether an instance came to its planned end, with so many runs, at that millisecond.

    Only the reason tells, and callers choose theirs freely: one in exactly these words, with the
    very number of runs or a time that has come, cannot be told apart.
    """
    match job_type:
        case "continuous":
            enough, until = _ENOUGH.fullmatch(reason), _UNTIL.fullmatch(reason)
            if enough:
                return int(enough[1]) == runs
            return until is not None and _has_come(until[1], at)
        case "task":
            return _IDLE.fullmatch(reason) is not None
        case _:
            return False


def _has_come(text: str, at: int) -> bool:
    try:
        until = datetime.fromisoformat(text)
    except ValueError:
        return False
    return until.utcoffset() is not None and milliseconds(until) <= at
