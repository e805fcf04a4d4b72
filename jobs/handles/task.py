"""The handle of a task instance."""

import asyncio
import uuid
from datetime import timedelta
from functools import partial
from typing import Any, Generic

from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from typing_extensions import TypeVar

from ..arguments import check_event_id
from ..definitions import TaskJob
from ..errors import JobFailed, NoReply
from ..names import ASK_AGAIN, ASK_AGAIN_MARK
from ..tracing import sending
from ..wire import JSON, json_to_raw
from .base import Handle
from .batch import Item, patiently, update_slot
from .connection import Connection
from .instance import Unanswered
from .limits import ANSWER_TIME, TimeLimit

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply", default=None)


class TaskHandle(Handle[State], Generic[Event, State, Reply]):
    """Sends events to an instance, asks it, and controls it."""

    workflow = "TaskJob"

    def __init__(
        self, connection: Connection, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> None:
        super().__init__(connection, job, key)

    async def send(self, event: Event, id: str | None = None) -> None:  # noqa: A002
        """Send an event; returns once it is durable in Temporal.

        Concurrent sends to one key share a call, in the order in which they were made.
        An event whose `id` the instance saw among its last 500 is dropped.

        Raises:
            InvalidEvent: it does not fit the event type; nothing was sent.
            PayloadTooLarge: it has over 256 KB.
            Busy: the instance takes no more at the moment.
        """
        item = self._item(event, id, "send")
        lane = (self.instance_id, "send")
        with self._sending("send", [item]):
            await self._connection.batcher.share(lane, self._signal_sends, item)

    async def _signal_sends(self, items: list[Item]) -> list[None]:
        return await self._signal_events("send", items)

    async def ask(
        self,
        event: Event,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = timedelta(seconds=30),
    ) -> Reply:
        """Send an event and wait for what `on_event` returns.

        Raises:
            InvalidEvent, PayloadTooLarge, Busy: as `send`.
            JobFailed: the handler failed for good, or the instance ended first.
            InvalidState: the event was handled, and the reply does not fit the reply type.
            NoReply: none in time; says how the event fares. It stays queued, and asking again with
                the same `id` joins it. It is a TimeoutError.
            NoWorker: none in time, as no worker answers at all. It is a TimeoutError too.
        """
        limit = self._limit(timeout)
        event_id = self._event_id(id, "ask") or str(uuid.uuid4())
        args: list[JSON] = [json_to_raw(self._codec.event_json(event, self.key))]
        with sending("ask", self.job_name, self.instance_id, [event_id]) as traceparent:
            if traceparent is not None:
                args.append({"traceparent": traceparent})
            async with self._instance.within(limit):
                answer = await self._answer_in_time(args, event_id, limit)
        return self._codec.load_reply(answer)

    async def _answer_in_time(self, args: list[JSON], event_id: str, limit: TimeLimit) -> Any:
        try:
            async with asyncio.timeout(limit.for_answer.total_seconds()):
                async with update_slot(self.instance_id):
                    return await self._ask(args, event_id, limit)
        except (Unanswered, TimeoutError) as error:
            raise await self._no_reply(limit) from error

    async def _no_reply(self, limit: TimeLimit) -> NoReply:
        """Why no reply came in time: what the instance does, or that no worker runs."""
        answer = await self._instance.query("status", limit, to_the_end=True)
        fares = "nothing is known of its event" if answer is None else how_it_fares(answer)
        return NoReply(f"{self.instance_id}: no reply within {limit}: {fares}")

    async def _ask(self, args: list[JSON], event_id: str, limit: TimeLimit) -> Any:
        number = 0
        while True:
            # An update's id answers the same for ever, so each further question has its own.
            mark = f"{ASK_AGAIN_MARK}{uuid.uuid4().hex[:8]}" if number else ""
            try:
                return await patiently(partial(self._ask_once, args, event_id + mark, limit))
            except WorkflowUpdateFailedError as error:
                if not _handed_back(error):
                    raise self._failure(error) from error
            number += 1
            await asyncio.sleep(min(0.05 * 2 ** min(number, 8), 1.0))

    async def _ask_once(self, args: list[JSON], update_id: str, limit: TimeLimit) -> Any:
        try:
            return await self._update_with_start("ask", args, update_id=update_id, limit=limit)
        except WorkflowUpdateFailedError as error:
            if (not_yet := self._not_yet(error)) is not None:
                raise not_yet from error
            raise

    def _failure(self, error: WorkflowUpdateFailedError) -> Exception:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == "JobFailed":
            return JobFailed(f"{self.instance_id}: {cause.message}")
        return self._refused(error)

    async def trigger(self) -> bool:
        """Run `execute` once now. False where no instance is alive."""
        return await self._control("trigger")

    async def redrive(
        self,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = ANSWER_TIME,
    ) -> int:
        """Queue the events that were set aside again, or the one with this id.

        They are listed in `status().failed_events`. Returns how many there were; 0 also where no
        instance is alive.

        Raises:
            NoWorker: none answered within `timeout`. It may still be done.
        """
        limit = self._limit(timeout)
        check_event_id(id, self.instance_id)
        return await self._counted("redrive", [] if id is None else [id], limit)


def how_it_fares(status: dict[str, JSON]) -> str:
    """What an instance does instead of replying, out of its status as it goes over the wire."""
    word, error = status["status"], status.get("lastError")
    attempt, count = status.get("attempt") or 1, status["eventCount"]
    waiting = "1 event waits" if count == 1 else f"{count} events wait"
    if word == "retrying":
        # The attempt that the status names is the next one.
        return f"attempt {max(attempt - 1, 1)} failed: {error}; {waiting}"
    fares = f"attempt {attempt} is under way" if word == "running" else f"the instance is {word}"
    note = f" ({status['pauseNote']})" if word == "paused" and status.get("pauseNote") else ""
    last = f"; the last error: {error}" if error else ""
    return f"{fares}{note}{last}; {waiting}"


def _handed_back(error: WorkflowUpdateFailedError) -> bool:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return False
    # The server's own word for an update that a closing run did not get to.
    return cause.type in (ASK_AGAIN, "AcceptedUpdateCompletedWorkflow")
