"""The three jobs, fed as the receiver feeds them: in memory, and where Temporal fails."""

from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from durable_jobs import JobClient, TemporalUnreachable
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.testing import Simulation
from examples.github.events import Check, Delivery
from examples.github.feeder import FeedError, JobFeeder
from examples.github.jobs import RepoDigest, RepoHealth, Thread
from examples.github.receiver import create_app, sign
from examples.github.settings import Settings, settings
from examples.github.store import Store
from tests.examples.github_support import SECRET, delivery
from tests.support import eventually


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of this test's own."""
    with Store(tmp_path / "github.db") as opened:
        yield opened


@pytest.fixture
def jobs(client: Client, queue: str) -> JobClient:
    """A client on a queue of this test's own."""
    return JobClient(client, task_queue=queue)


@pytest.fixture
def feeder(jobs: JobClient) -> JobFeeder:
    """The feeder of the receiver, on that queue."""

    async def connect() -> JobClient:
        return jobs

    return JobFeeder(connect)


@pytest.fixture
def sim(store: Store) -> Simulation:
    """The three jobs in memory, on that store."""
    options = Settings(follow_up_after=timedelta(hours=1))
    three = [RepoDigest(store), RepoHealth(store, options), Thread(store, options)]
    return Simulation(three, start=datetime.now(UTC))


def feed(sim: Simulation, *deliveries: Delivery) -> None:
    """Feed the jobs in memory as the receiver does."""

    async def connect() -> JobClient:
        return sim.jobs

    feeder = JobFeeder(connect)
    for each in deliveries:
        sim.run(feeder.feed(each))


def now(serial: int, repository: str, **changes: object) -> Delivery:
    """Give a comment made now."""
    place = {"repository": repository, "key": repository}
    return delivery(serial, at=datetime.now(UTC), **{**place, **changes})


async def test_a_delivery_is_safe_with_all_its_jobs_before_any_worker_runs(
    feeder: JobFeeder, jobs: JobClient, queue: str
) -> None:
    repository = f"octocat/{queue}"
    for _ in range(2):
        fed = await feeder.feed(now(1, repository))
        assert fed == [
            f"github-digest:{repository}",
            f"github-health:{repository}",
            f"github-thread:{repository}#7",
        ]


async def test_a_delivery_without_a_repository_enters_a_digest_alone(
    feeder: JobFeeder, queue: str
) -> None:
    fed = await feeder.feed(delivery(key=f"org:{queue}", repository=None, number=None))
    assert fed == [f"github-digest:org:{queue}"]


REPOSITORY = "octocat/hello"


def test_deliveries_of_a_window_become_one_digest_however_often_they_come(
    sim: Simulation, store: Store
) -> None:
    check = Check(name="lint", conclusion="failure")
    feed(sim, *(now(number, REPOSITORY, check=check) for number in (1, 2, 1)))
    sim.advance(settings().digest_after)
    [digest] = store.digests()
    assert (digest.key, digest.deliveries, digest.reason) == (REPOSITORY, 2, "timeout")
    assert store.digest_counts() == {"d-1": 1, "d-2": 1}


def test_health_knows_what_is_open_and_failing(sim: Simulation, store: Store) -> None:
    feed(sim, now(1, REPOSITORY, check=Check(name="lint", conclusion="failure")))
    sim.advance(settings().digest_after + settings().health_every)
    health = store.health()[REPOSITORY]
    assert (health.status, health.open, health.stale) == ("failing", 1, ())
    assert [check.name for check in health.failing] == ["lint"]


def test_a_silent_thread_is_followed_up_each_time_after_twice_as_long(
    sim: Simulation, store: Store
) -> None:
    feed(sim, now(1, REPOSITORY))
    seen: list[int] = []
    for minutes in (59, 1, 119, 1, 239, 1, 600):
        sim.advance(timedelta(minutes=minutes))
        seen.append(len(store.notes()))
    assert seen == [0, 1, 1, 2, 2, 3, 3]
    assert {note.what for note in store.notes()} == {"follow-up"}
    [thread] = store.threads()
    assert (thread.follow_ups, thread.follow_up_at) == (3, None)


def test_a_comment_moves_the_follow_up(sim: Simulation, store: Store) -> None:
    feed(sim, now(1, REPOSITORY))
    sim.advance("40m")
    feed(sim, now(2, REPOSITORY))
    sim.advance("59m")
    assert store.notes() == []
    sim.advance("1m")
    assert len(store.notes()) == 1


def test_a_closed_thread_ends_and_is_not_followed_up(sim: Simulation, store: Store) -> None:
    closed = now(2, REPOSITORY, event="issues", action="closed", ended="closed")
    feed(sim, now(1, REPOSITORY), closed)
    sim.advance("2h")
    [note] = store.notes()
    assert (note.what, note.text) == ("ended", "issue closed after 2 comments")
    status = sim.task(Thread, f"{REPOSITORY}#7").status()
    assert status is not None
    assert status.status == "terminated"


def test_a_thread_that_is_opened_again_starts_afresh(sim: Simulation, store: Store) -> None:
    feed(sim, now(1, REPOSITORY, event="issues", action="closed", ended="closed"))
    assert [thread.state for thread in store.threads()] == ["closed"]
    feed(sim, now(2, REPOSITORY, event="issues", action="reopened", comment=False))
    [thread] = store.threads()
    assert (thread.state, thread.comments) == ("open", 0)


async def test_the_receiver_asks_for_another_try_while_temporal_is_away(tmp_path: Path) -> None:
    options = Settings(webhook_secret=SecretStr(SECRET))
    body = b'{"repository": {"full_name": "octocat/hello"}}'
    headers = {
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "X-Hub-Signature-256": sign(SECRET.encode(), body),
    }
    async with EmbeddedServer(ui=False) as server:
        jobs = JobClient(await Client.connect(server.target))

        async def connect() -> JobClient:
            return jobs

        with Store(tmp_path / "github.db") as store:
            app = create_app(store, JobFeeder(connect, within=1), options)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
                await server.kill()
                response = await client.post("/webhooks/github", content=body, headers=headers)
                assert (response.status_code, response.headers["Retry-After"]) == (503, "30")
                assert not store.seen("d-1")
                await server.restart()
                again = partial(client.post, "/webhooks/github", content=body, headers=headers)
                await eventually(lambda: _taken(again))
                assert store.seen("d-1")


async def _taken(post: Callable[[], Awaitable[httpx.Response]]) -> bool:
    return (await post()).status_code == 202


async def test_a_feeder_that_could_not_connect_tries_again(jobs: JobClient, queue: str) -> None:
    tries: list[int] = []

    async def second_time() -> JobClient:
        tries.append(1)
        if len(tries) == 1:
            raise TemporalUnreachable("nothing answers")
        return jobs

    feeder = JobFeeder(second_time)
    ping = delivery(key=f"org:{queue}", repository=None, number=None)
    with pytest.raises(FeedError, match="nothing answers"):
        await feeder.feed(ping)
    assert await feeder.feed(ping)
    assert len(tries) == 2
