"""Plain `def` handlers are cancelled in their thread, and end before another begins."""

import asyncio
import threading
import time
from datetime import timedelta

from temporalio.client import Client

from durable_jobs import TaskJob, TaskRun
from tests.support import eventually
from tests.support.jobs import at_most, new_key, result_of, running_worker, until_settled


class Plain(TaskJob[int, int]):
    """Works in a thread until it is cancelled."""

    name = "plain"
    heartbeat_timeout = timedelta(seconds=1.5)
    retry = at_most(2)

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled: list[str] = []
        self.together = 0
        self._working = threading.Lock()

    def on_event(self, run: TaskRun[int], event: int) -> None:
        if not self._working.acquire(blocking=False):
            self.together += 1
            return
        try:
            self.begun += 1
            while event == 0:
                time.sleep(0.005)
        except asyncio.CancelledError:
            time.sleep(0.05)
            self.cancelled.append(threading.current_thread().name)
            raise
        finally:
            self._working.release()
        run.state += event

    def execute(self, run: TaskRun[int]) -> None:
        """No handler sets the alarm."""


async def test_terminate_cancels_the_thread_of_a_plain_handler(client: Client, queue: str) -> None:
    job = Plain()
    async with running_worker(client, queue, job) as jobs:
        plain = jobs.task(Plain, new_key())
        await plain.send(0)
        await eventually(lambda: job.begun)
        await plain.terminate("enough")
        assert (await result_of(client, plain.instance_id))["reason"] == "enough"
        assert len(job.cancelled) == 1
        assert job.cancelled[0].startswith("durable-jobs")


async def test_after_a_time_out_the_next_attempt_waits_for_the_thread_to_end(
    client: Client, queue: str
) -> None:
    class Timed(Plain):
        timeout = timedelta(milliseconds=600)

    job = Timed()
    async with running_worker(client, queue, job) as jobs:
        plain = jobs.task(Timed, new_key())
        await plain.send(0)
        await plain.send(7)
        await eventually(lambda: job.begun == 3)
        status = await until_settled(plain)
        assert [entry["error"] for entry in status.failed_events] == [
            "TimeoutError: the attempt took longer than its timeout of 0:00:00.600000"
        ]
        assert (len(job.cancelled), job.together) == (2, 0)
        assert await plain.state() == 7
        await plain.terminate()
