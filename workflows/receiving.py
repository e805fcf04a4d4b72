"""What a task instance receives: events, questions, and what else callers ask of it."""

from collections.abc import Sequence
from typing import Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from durable_jobs.names import ASK_AGAIN, ASK_AGAIN_MARK
from durable_jobs.protocol import JobType
from durable_jobs.wire import JSON

from .base import JobWorkflow
from .inputs import read_event_id, read_events, read_one_event
from .queue import Queue
from .step import Step
from .texts import EventText


class ReceivingWorkflow(JobWorkflow):
    """A task instance without its life."""

    job_type: ClassVar[JobType] = "task"
    bare: ClassVar[frozenset[str]] = JobWorkflow.bare | {"trigger"}
    bringing: ClassVar[frozenset[str]] = frozenset({"send", "send_batch", "ask"})

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        extra = self.carried.extra if self.carried else {}
        self._queue = Queue.model_validate(extra.get("queue", {}))
        self._doing = Step.model_validate(extra["doing"]) if extra.get("doing") else None
        """What is under way."""

        self._unjudged: set[str] = set()
        """Ids of events that were asked about and go to the handler at once, which judges them."""

        self._refused: dict[str, str] = {}
        """Why such an event did not fit, until those that asked were told."""

        self._carrying = False
        """Whether continue-as-new waits for those that ask."""

    def handle_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take a signal."""
        match name:
            case "send":
                self._queue.put(read_one_event(args).event())
            case "send_batch":
                for event in self.events_of(name, args):
                    self._queue.put(event.event())
            case "trigger":
                self._queue.triggered = True
            case "redrive":
                self._queue.redrive(read_event_id(args))
            case _:
                super().handle_signal(name, args)

    def check_update(self, name: str, args: Sequence[RawValue]) -> None:
        """Refuse what has the wrong shape."""
        match name:
            case "send" | "ask":
                read_one_event(args)
            case "send_batch":
                read_events(args)
            case "redrive":
                read_event_id(args)
            case _:
                super().check_update(name, args)

    async def handle_update(self, name: str, args: Sequence[RawValue]) -> JSON:
        """Answer an update."""
        match name:
            case "send" | "send_batch":
                events = [read_one_event(args)] if name == "send" else read_events(args)
                await self.judge(events)
                taken = [self._queue.put(event.event()) for event in events]
                return {"eventCount": len(self._queue.events), "duplicate": not any(taken)}
            case "ask":
                return await self._ask(read_one_event(args))
            case "redrive":
                return {"redrivenEvents": self._queue.redrive(read_event_id(args))}
            case _:
                return await super().handle_update(name, args)

    async def _ask(self, event: EventText) -> JSON:
        # The update's id is the event's: a caller that asks again joins its queued event.
        info = workflow.current_update_info()
        event_id = (info.id if info else str(workflow.uuid4())).split(ASK_AGAIN_MARK)[0]
        queue = self._queue
        if event_id not in queue.replies:
            if not self._has(event_id):
                await self._take(event, event_id)
            queue.asked[event_id] = None
        await workflow.wait_condition(
            lambda: (
                event_id in queue.replies
                or event_id in self._refused
                or self._hands_back()
                or self.ended is not None
            )
        )
        self._unjudged.discard(event_id)
        return self._answer(event_id)

    def _has(self, event_id: str) -> bool:
        under_way = self._doing is not None and self._doing.has(event_id)
        return under_way or self._queue.waits_for(event_id)

    async def _take(self, event: EventText, event_id: str) -> None:
        self._refused.clear()
        if self._is_next():
            # A local activity less: its caller hears as soon from the handler's.
            self._unjudged.add(event_id)
        else:
            await self.judge([event])
        known = not self._queue.put(event.event().model_copy(update={"id": event_id}))
        if known and not self._has(event_id):
            raise ApplicationError(
                f"an event with the id {event_id!r} was handled before and its reply is not kept",
                type="JobFailed",
                non_retryable=True,
            )

    def _is_next(self) -> bool:
        """Whether an event that comes now is handled at once."""
        queue = self._queue
        busy = self._doing is not None or bool(queue.events) or queue.alarm_due(self.now)
        return not (busy or self.options is None or self.life.paused or self.terminating)

    def refuse(self, event_id: str, reason: str) -> bool:
        """Note that a handler's activity found an event not to fit; False where it was sent."""
        if event_id not in self._unjudged:
            return False
        self._unjudged.discard(event_id)
        self._queue.forget(event_id)
        self._refused[event_id] = reason
        return True

    def _answer(self, event_id: str) -> JSON:
        if event_id in self._refused:
            reason = self._refused[event_id]
            raise ApplicationError(reason, type="InvalidEvent", non_retryable=True)
        kept = self._queue.replies.get(event_id)
        if kept is None:
            # Behind a life that its run ended, a fresh one handles it.
            over = self.ended is not None and not self._queue.waits_for(event_id)
            why = "the instance ended before the event was handled" if over else "ask again"
            kind = "JobFailed" if over else ASK_AGAIN
            raise ApplicationError(why, type=kind, non_retryable=True)
        if "error" in kept:
            raise ApplicationError(kept["error"], type="JobFailed", non_retryable=True)
        return kept["reply"]

    def _hands_back(self) -> bool:
        """A waiting update would hold up `resume` and continue-as-new."""
        waits = self.held or self.run_now is None
        return self._carrying or (self.life.paused is not None and waits)

    def discard_waiting(self) -> int:
        """Drop the queued events."""
        return self._queue.clear()
