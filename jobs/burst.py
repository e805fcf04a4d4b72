"""A burst of events: what the activity that handles them and its workflow both know."""

from uuid import UUID, uuid5

from .protocol import Detail, RunRequest, RunResult


def key_in_burst(first_key: str, index: int) -> str:
    """The idempotency key of the run for the event at `index`; the first one has 0."""
    return str(uuid5(UUID(first_key), str(index))) if index else first_key


def following(
    first: RunRequest, last: RunRequest, result: RunResult, index: int, detail: Detail
) -> RunRequest:
    """What the handler of the event at `index` is called with, after the last one's result."""
    state = result if result.ran else last
    counts = result.ran or last.attempt > 1
    if "traceparents" in first.detail:
        detail = {**detail, "traceparents": first.detail["traceparents"][index : index + 1]}
    return last.model_copy(
        update={
            "run_count": last.run_count + counts,
            "idempotency_key": key_in_burst(first.idempotency_key, index),
            "attempt": 1,
            "first_started_at": None,
            "checkpoint": None,
            "progress": None,
            "state": state.state,
            "has_state": result.ran or last.has_state,
            "state_version": state.state_version,
            "detail": detail,
        }
    )
