"""Between the outboxes of instances and the worker's courier."""

from durable_jobs.protocol import Detail, Verdicts

from .config import Tracking
from .courier import Courier, Verdict


def submit(courier: Courier, tracking: Tracking, events: list[Detail]) -> None:
    """Give events to the courier, redacted."""
    courier.submit([tracking.redact(event) for event in events])


def summary(courier: Courier, known: dict[str, Verdict]) -> Verdicts:
    """Verdicts as they go into history."""
    trouble = courier.trouble
    return Verdicts(
        delivered=[key for key, verdict in known.items() if verdict.outcome == "delivered"],
        rejected=_reasons(known, "rejected"),
        dropped=_reasons(known, "dropped"),
        trouble=trouble.message if trouble is not None else None,
    )


def _reasons(known: dict[str, Verdict], outcome: str) -> dict[str, str]:
    return {
        key: verdict.reason or outcome
        for key, verdict in known.items()
        if verdict.outcome == outcome
    }
