"""A worker that can be killed, in the process of a test."""

import asyncio
import contextlib
import dataclasses
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio.client import Client, Interceptor
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Worker,
)
from temporalio.worker import Interceptor as WorkerInterceptor

from durable_jobs.activities.interceptor import HANDLER_MARK
from durable_jobs.definitions import Job
from durable_jobs.plugin import JobsPlugin
from durable_jobs.tracking import Tracking

from .effects import killing

_CHUNK = 64 * 1024
_MISSED_FOR = timedelta(seconds=0.5)
"""So long the server waits for a worker that had an instance in its cache."""

_LAST_WAIT = 5.0  # seconds


class MortalWorker:
    """Reaches the server by a line of its own, which can be cut.

    A worker whose line is cut is dead to the server: it hears no heartbeat and no result any more.
    """

    def __init__(self, target: str, queue: str, interceptors: Sequence[Interceptor]) -> None:
        self._line = _Line(target)
        self._queue = queue
        self._interceptors = interceptors
        self._around = _Around()
        self._running: asyncio.Task[None] | None = None

    async def start(self, jobs: Sequence[Job], tracking: Tracking) -> None:
        """Begin to take tasks."""
        address = await self._line.open()
        client = await Client.connect(address, interceptors=self._interceptors)
        worker = Worker(
            client,
            task_queue=self._queue,
            plugins=[JobsPlugin(jobs, tracking)],
            interceptors=[self._around],
            sticky_queue_schedule_to_start_timeout=_MISSED_FOR,
        )
        self._running = asyncio.create_task(worker.run())

    async def kill(self) -> None:
        """End it as SIGKILL does: nothing that its handlers did is reported."""
        self._around.die()
        self._line.cut()
        _dead.append(self._line)
        if self._running is not None:
            # It has nobody to take leave of, and is left behind.
            self._running.cancel()

    async def stop(self) -> None:
        """End it in order."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running}, timeout=_LAST_WAIT)
        self._line.close()


class _Around(WorkerInterceptor):
    """Knows the attempts under way."""

    def __init__(self) -> None:
        self.dead = False
        self.attempts = set[asyncio.Task[Any]]()

    def die(self) -> None:
        """End what is under way, without a word."""
        self.dead = True
        for attempt in self.attempts:
            attempt.cancel()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002
        """See base class."""
        return _AroundAttempt(next, self)


class _AroundAttempt(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, around: _Around) -> None:  # noqa: A002
        super().__init__(next)
        self._around = around

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        """See base class. The dead tell nothing."""
        attempt = asyncio.current_task()
        assert attempt is not None
        self._around.attempts.add(attempt)
        try:
            done = await super().execute_activity(input)
            following = self._following(input)
            return done if following is None else await super().execute_activity(following)
        finally:
            self._around.attempts.discard(attempt)
            while self._around.dead:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.Event().wait()

    def _following(self, input: ExecuteActivityInput) -> ExecuteActivityInput | None:  # noqa: A002
        """The attempt that is made as nobody heard of this one, where workers are killed."""
        if not hasattr(input.fn, HANDLER_MARK):
            return None
        payload = killing.next_attempt_of(input.args[0])
        return None if payload is None else dataclasses.replace(input, args=[payload])


class _Line:
    """Passes on what a client and a server say to each other, until it is cut."""

    def __init__(self, target: str) -> None:
        self._host, port = target.rsplit(":", 1)
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._to_server = set[asyncio.StreamWriter]()
        self._to_client = set[asyncio.StreamWriter]()
        self._is_cut = False

    async def open(self) -> str:
        """The address at which the server is reached."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._to_client.add(writer)
        if self._is_cut:
            await self._pass_on(reader, None)
            return
        theirs, ours = await asyncio.open_connection(self._host, self._port)
        self._to_server.add(ours)
        await asyncio.gather(self._pass_on(reader, ours), self._pass_on(theirs, writer))
        self._to_server.discard(ours)
        if not self._is_cut:
            self._to_client.discard(writer)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None
    ) -> None:
        # The end of a line that is cut is no end in order.
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if writer is not None and not self._is_cut:
                    writer.write(data)
                    await writer.drain()
        if writer is not None and not self._is_cut:
            writer.close()

    def cut(self) -> None:
        """Nothing passes any more. The server sees it; the client waits for answers, in silence."""
        self._is_cut = True
        for ours in self._to_server:
            ours.transport.abort()

    def close(self) -> None:
        """The client has gone."""
        self.cut()
        if self._server is not None:
            self._server.close()
        for writer in self._to_client:
            writer.transport.abort()


_dead: list[_Line] = []
"""Lines of killed workers, kept open: their clients would say, again and again, that one is not."""
