"""What a run has reached, for its next attempt: its checkpoint and its progress.

It stands in the heartbeat details, which the server keeps over attempts that fail or are lost, and
in the request of the next activity, where one goes on with the run.
"""

from hashlib import blake2b
from typing import Any, cast

from durable_jobs.protocol import Checkpoint, Detail, RunRequest
from durable_jobs.wire import JSON, dumps


class Checkpoints:
    """The last checkpoint and the last progress of the run at hand."""

    def __init__(self, request: RunRequest, before: Detail) -> None:
        self._before = before
        self.begin(request)

    def begin(self, request: RunRequest) -> None:
        """Look up what earlier attempts of a run have reached."""
        self._request = request
        self._base: str | None = None
        self.is_new: bool = False
        """Whether the workflow does not know the checkpoint yet."""

        self.kept: Checkpoint | None = self._found() or request.checkpoint
        self.progress: Detail | None = request.progress
        if self._before.get("run") == request.idempotency_key:
            self.progress = self._before.get("progress", self.progress)

    def _found(self) -> Checkpoint | None:
        data = self._before.get("checkpoint")
        if data is None or data["run_key"] != self._request.idempotency_key:
            return None
        found = Checkpoint.model_validate(data)
        self.is_new = found.base == self._base_now()
        return found if self.is_new else None

    def _base_now(self) -> str:
        if self._base is None:
            self._base = blake2b(dumps(self._request.state), digest_size=16).hexdigest()
        return self._base

    def keep(self, state: JSON, version: int) -> None:
        """Make a checkpoint."""
        self.is_new = True
        self.kept = Checkpoint(
            state=state,
            state_version=version,
            run_key=self._request.idempotency_key,
            base=self._base_now(),
        )

    def mark(self) -> Detail:
        """The part of the heartbeat details."""
        kept = self.kept.model_dump(mode="json") if self.kept and self.is_new else None
        return {
            "run": self._request.idempotency_key,
            "progress": self.progress,
            "checkpoint": kept,
        }


def mark_of(details: Any) -> Detail:
    """What an attempt left in its heartbeats, for the next one."""
    mark = details[0] if details else None
    return cast("Detail", mark) if isinstance(mark, dict) else {}
