"""Which commands retry what fails, by job: what `list --failing` ends with."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..many.finding import Seen

_MOST = 6


def how_to_retry(shown: "Iterable[Seen]") -> list[str]:
    """A line for each job of which something fails."""
    statuses = (each.status for each in shown if each.status is not None)
    commands = list(dict.fromkeys(_command(status) for status in statuses))
    return [f"to retry: {command}" for command in commands[:_MOST]]


def _command(status: dict[str, Any]) -> str:
    chosen = f"--job {status['jobName']} --failing"
    if status.get("failedEvents"):
        return f"durable-jobs redrive {chosen}"
    if status["jobType"] == "debounce":
        return f"durable-jobs flush {chosen}"
    if status.get("pausedBy") == "exhausted":
        return f"durable-jobs resume {chosen}"
    if status["jobType"] != "continuous":
        # Else an instance whose events are set aside would run its alarm.
        chosen = f"--job {status['jobName']} --status retrying"
    return f"durable-jobs trigger {chosen}"
