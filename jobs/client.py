"""The typed client."""

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Self, TypeVar, Unpack

from temporalio.client import Client
from temporalio.converter import DefaultPayloadConverter

from .arguments import check_name, check_time, shown
from .definitions import ContinuousJob, DebounceJob, Job, TaskJob, WorkerPoolJob
from .errors import InvalidArgument
from .exits import note_runtime
from .handles import ContinuousHandle, DebounceHandle, TaskHandle, WorkerPoolHandle
from .handles.connection import Connection, Once
from .handles.limits import ANSWER_TIME
from .link import Connect, Connecting, Link
from .many.acting import BulkResult
from .many.fleet import BulkOptions, Fleet, Which
from .status import JobStatus

DEFAULT_TASK_QUEUE = "durable-jobs"

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply")


class JobClient:
    """Starts, feeds, asks and controls instances.

    Takes any Temporal client: its payload codec applies, its payload converter is not used.
    """

    def __init__(
        self,
        client: Client | Connect,
        task_queue: str = DEFAULT_TASK_QUEUE,
        *,
        once: str | None = None,
    ) -> None:
        """A Temporal client, or an async function that connects one.

        The function is called with the first call. `once` is the library's own: it names the run on
        whose behalf calls are made.

        Raises:
            InvalidArgument: `client` is neither, or `task_queue` no name.
        """
        check_name(task_queue, "JobClient: task_queue")
        self._connection = Connection(_link(client), task_queue, Once(once) if once else None)

    @classmethod
    def connect(
        cls, timeout: timedelta = timedelta(seconds=10), *, lazy: bool = False
    ) -> Connecting[Self]:
        """Connect as TEMPORAL_* and Temporal's profile file say.

        Await it, or write `async with JobClient.connect() as jobs`, which closes the client at the
        end. `lazy` connects with the first call instead, which then raises what this would.

        Raises:
            TemporalUnreachable: nothing answered within `timeout`; names the address.
        """
        check_time(timeout, "JobClient.connect: timeout")
        return Connecting(cls._connected(timeout, lazy))

    @classmethod
    async def _connected(cls, timeout: timedelta, lazy: bool) -> Self:
        jobs = cls(*from_environment(timeout))
        if not lazy:
            await jobs._connection.link.client()
        return jobs

    async def close(self) -> None:
        """Let go of the connection. Handles of this client raise `JobsError` from then on.

        A Temporal client that was given stays open for others.
        """
        self._connection.link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def debounce(
        self, job: type[DebounceJob[Event, State]], key: str
    ) -> DebounceHandle[Event, State]:
        """The handle of a debounce instance.

        Raises:
            InvalidKey: the key is none.
            TypeError: the job is of another type; names the method to use.
        """
        _check_job(job, "debounce")
        return DebounceHandle(self._connection, job, key)

    def continuous(self, job: type[ContinuousJob[State]], key: str) -> ContinuousHandle[State]:
        """The handle of a continuous instance.

        Raises:
            InvalidKey: the key is none.
            TypeError: the job is of another type; names the method to use.
        """
        _check_job(job, "continuous")
        return ContinuousHandle(self._connection, job, key)

    def task(
        self, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> TaskHandle[Event, State, Reply]:
        """The handle of a task instance.

        Raises:
            InvalidKey: the key is none.
            TypeError: the job is of another type; names the method to use.
        """
        _check_job(job, "task")
        return TaskHandle(self._connection, job, key)

    def worker_pool(self, job: type[WorkerPoolJob[Event]]) -> WorkerPoolHandle[Event]:
        """The handle of a worker pool.

        Raises:
            DefinitionError: the job's `concurrency` is none.
            TypeError: the job is of another type; names the method to use.
        """
        _check_job(job, "worker_pool")
        return WorkerPoolHandle(self._connection, job)

    # -- many instances -------------------------------------------------------------------------

    def list(
        self,
        job: type[Job] | None = None,
        *,
        timeout: timedelta = ANSWER_TIME,
        **which: Unpack[Which],
    ) -> AsyncIterator[JobStatus]:
        """The status of each instance that is meant, of one job or all, as their answers come.

        `async for status in jobs.list(RepoDigest, status="paused", key_prefix="octocat/")`. Those
        alive, unless `status` is `completed`, `terminated` or `failed`. Each instance is asked,
        some 64 at a time. Temporal's visibility, which names them, lags behind by a second or so.

        Raises:
            InvalidArgument: a word of `which` is none.
            NoWorker: some did not answer within `timeout`; raised after all that did.
        """
        return Fleet(self._connection, job, which).statuses(timeout)

    async def pause_all(
        self, job: type[Job] | None, note: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Pause all instances that are meant: of a job, or of all where it is None.

        `options` are those of `list`, and `rate` (instances a second, 100 by default), `timeout`
        (for one instance), `told` (is called with the `BulkResult` so far after each instance) and
        `operation`. Instances heed two calls of one verb and one `operation` once: so one that was
        cut off can be made again. `pause`, `resume`, `clear`, `redrive` and `terminate` change
        nothing the second time anyway. Those paused already are left alone.

        A job without further options is paused as a whole: no run of it begins, of instances to
        come either, until `resume_all(job)`. `BulkResult.job` says so.

        Raises:
            InvalidArgument: an option is wrong; nothing was sent.
            JobsError: the instances cannot be listed. What fails with one is in the result.
        """
        return await Fleet(self._connection, job, options).tell("pause", note, options)

    async def resume_all(
        self, job: type[Job] | None, note: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Resume all paused instances that are meant. Options and errors as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("resume", note, options)

    async def trigger_all(
        self, job: type[Job] | None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Trigger all instances that are meant. Options and errors as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("trigger", None, options)

    async def flush_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Flush all instances that are meant and have events. Options and errors as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("flush", None, options)

    async def clear_all(self, job: type[Job] | None, **options: Unpack[BulkOptions]) -> BulkResult:
        """Drop what waits in all instances that are meant. Options and errors as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("clear", None, options)

    async def redrive_all(
        self, job: type[Job] | None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """Queue again what failed in all instances that are meant. Otherwise as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("redrive", None, options)

    async def terminate_all(
        self, job: type[Job] | None, reason: str | None = None, **options: Unpack[BulkOptions]
    ) -> BulkResult:
        """End all instances that are meant. Options and errors as `pause_all`."""
        return await Fleet(self._connection, job, options).tell("terminate", reason, options)


def from_environment(timeout: timedelta) -> tuple[Connect, str]:
    """What connects as the environment says, and its task queue. The library's own."""
    # Whoever brings a client needs neither.
    from .connection import connect
    from .settings import load_settings

    return partial(connect, timeout=timeout), load_settings().task_queue


def _link(client: Client | Connect) -> Link:
    """The way to Temporal of a user's own client, or of a function that connects one."""
    if isinstance(client, Client):
        if not client.service_client.config.lazy:
            note_runtime(client)
        return Link(_plain(client))
    if isinstance(client, type) or not callable(client):
        raise InvalidArgument(
            f"JobClient: client is a temporalio.client.Client, not {shown(client)}, or an async "
            "function that connects one; or let JobClient.connect() make one"
        )

    async def make() -> Client:
        from .connection import unless_forked

        made = await unless_forked(client)
        if not isinstance(made, Client):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(
                f"JobClient: the function gives a temporalio.client.Client, not {shown(made)}"
            )
        note_runtime(made)
        return _plain(made)

    return Link(None, make)


_METHODS: dict[str, type[Job]] = {
    "debounce": DebounceJob,
    "continuous": ContinuousJob,
    "task": TaskJob,
    "worker_pool": WorkerPoolJob,
}
"""What makes handles, and for what."""


def _check_job(job: object, method: str) -> None:
    """Raise `InvalidArgument`, a TypeError, where a job is none for this method."""
    expected = _METHODS[method]
    if not isinstance(job, type):
        given = type(job)
        if issubclass(given, expected):
            raise InvalidArgument(
                f"jobs.{method}() takes the class {given.__name__}, not an instance of it"
            )
        raise InvalidArgument(
            f"jobs.{method}() takes a {expected.__name__} class, not {shown(job)}"
        )
    if not issubclass(job, expected):
        fitting = (name for name, kind in _METHODS.items() if issubclass(job, kind))
        other = next((f": use {_call(name, job.__name__)}" for name in fitting), "")
        raise InvalidArgument(
            f"jobs.{method}() takes a {expected.__name__} class, and {job.__name__} is none{other}"
        )
    job.check_name()


def _call(method: str, job: str) -> str:
    """How a handle is made."""
    key = "" if method == "worker_pool" else ", key"
    return f"jobs.{method}({job}{key})"


def _plain(client: Client) -> Client:
    """The same client with plain JSON payloads; its codec and interceptors stay."""
    config = client.config(active_config=True)
    # What the plugins changed is in the active configuration already.
    config["plugins"] = []
    config["data_converter"] = dataclasses.replace(
        client.data_converter, payload_converter_class=DefaultPayloadConverter
    )
    return Client(**config)
