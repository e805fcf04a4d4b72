"""The typed client."""

import dataclasses
from datetime import timedelta
from typing import Self, TypeVar

from temporalio.client import Client
from temporalio.converter import DefaultPayloadConverter

from .connection import connect
from .definitions import ContinuousJob, DebounceJob, TaskJob
from .handles import ContinuousHandle, DebounceHandle, TaskHandle
from .handles.base import Connection, Once
from .settings import load_settings

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
        client: Client,
        task_queue: str = DEFAULT_TASK_QUEUE,
        *,
        once: str | None = None,
    ) -> None:
        """`once` is the library's own: it names the run on whose behalf calls are made."""
        self._connection = Connection(_plain(client), task_queue, Once(once) if once else None)

    @classmethod
    async def connect(cls, timeout: timedelta = timedelta(seconds=10)) -> Self:
        """Connect as TEMPORAL_* and Temporal's profile file say.

        Raises:
            TemporalUnreachable: nothing answered within `timeout`; names the address.
        """
        task_queue = load_settings().task_queue
        return cls(await connect(timeout=timeout), task_queue=task_queue)

    def debounce(
        self, job: type[DebounceJob[Event, State]], key: str
    ) -> DebounceHandle[Event, State]:
        """The handle of a debounce instance; raises `InvalidKey`."""
        return DebounceHandle(self._connection, job, key)

    def continuous(self, job: type[ContinuousJob[State]], key: str) -> ContinuousHandle[State]:
        """The handle of a continuous instance; raises `InvalidKey`."""
        return ContinuousHandle(self._connection, job, key)

    def task(
        self, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> TaskHandle[Event, State, Reply]:
        """The handle of a task instance; raises `InvalidKey`."""
        return TaskHandle(self._connection, job, key)


def _plain(client: Client) -> Client:
    """The same client with plain JSON payloads; its codec and interceptors stay."""
    config = client.config(active_config=True)
    # What the plugins changed is in the active configuration already.
    config["plugins"] = []
    config["data_converter"] = dataclasses.replace(
        client.data_converter, payload_converter_class=DefaultPayloadConverter
    )
    return Client(**config)
