"""The three jobs on a real Temporal server, fed as the receiver feeds them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from temporalio.client import Client

from durable_jobs import JobClient, TemporalUnreachable
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.worker import run_worker
from examples.github.events import Check, Delivery
from examples.github.feeder import FeedError, JobFeeder
from examples.github.jobs import RepoDigest, RepoHealth, Thread
from examples.github.receiver import create_app, sign
from examples.github.settings import Settings
from examples.github.store import Store
from tests.examples.github_support import SECRET, delivery
from tests.support import eventually

OPTIONS = Settings(follow_up_after=timedelta(seconds=2), follow_ups=1)


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
async def worker(client: Client, queue: str, store: Store) -> AsyncIterator[None]:
    """A worker with the three jobs on that store."""
    stop = asyncio.Event()
    three = [RepoDigest(store), RepoHealth(store, OPTIONS), Thread(store, OPTIONS)]
    task = asyncio.create_task(run_worker(three, client=client, task_queue=queue, stop=stop))
    yield
    stop.set()
    await task


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


@pytest.mark.usefixtures("worker")
async def test_deliveries_of_a_window_become_one_digest_however_often_they_come(
    feeder: JobFeeder, jobs: JobClient, store: Store, queue: str
) -> None:
    repository = f"octocat/{queue}"
    check = Check(name="lint", conclusion="failure")
    for number in (1, 2, 1):
        await feeder.feed(now(number, repository, check=check))
    assert await jobs.debounce(RepoDigest, repository).flush()
    [digest] = await eventually(store.digests)
    assert (digest.key, digest.deliveries, digest.reason) == (repository, 2, "manual")
    assert store.digest_counts() == {"d-1": 1, "d-2": 1}


@pytest.mark.usefixtures("worker")
async def test_health_knows_what_is_open_and_failing(
    feeder: JobFeeder, jobs: JobClient, store: Store, queue: str
) -> None:
    repository = f"octocat/{queue}"
    await feeder.feed(now(1, repository, check=Check(name="lint", conclusion="failure")))
    await jobs.debounce(RepoDigest, repository).flush()
    await eventually(lambda: store.checks(repository) and store.open_threads(repository))
    await jobs.continuous(RepoHealth, repository).trigger()
    [health] = await eventually(
        lambda: [h for h in store.health().values() if h.failing and h.open]
    )
    assert (health.status, health.open, health.stale) == ("failing", 1, ())
    assert [check.name for check in health.failing] == ["lint"]


@pytest.mark.usefixtures("worker")
async def test_a_silent_thread_is_followed_up(feeder: JobFeeder, store: Store, queue: str) -> None:
    await feeder.feed(now(1, f"octocat/{queue}"))
    [note] = await eventually(store.notes)
    assert note.what == "follow-up"
    assert note.text.startswith("no answer for 2 seconds: ")
    [thread] = store.threads()
    assert (thread.follow_ups, thread.follow_up_at) == (1, None)


@pytest.mark.usefixtures("worker")
async def test_a_comment_moves_the_follow_up(feeder: JobFeeder, store: Store, queue: str) -> None:
    repository = f"octocat/{queue}"
    await feeder.feed(now(1, repository))
    first = await eventually(lambda: [t.follow_up_at for t in store.threads()])
    await feeder.feed(now(2, repository))
    [second] = await eventually(lambda: [t for t in store.threads() if t.comments == 2])
    assert second.follow_up_at
    assert first[0]
    assert second.follow_up_at > first[0]


@pytest.mark.usefixtures("worker")
async def test_a_closed_thread_ends_and_is_not_followed_up(
    feeder: JobFeeder, jobs: JobClient, store: Store, queue: str
) -> None:
    repository = f"octocat/{queue}"
    await feeder.feed(now(1, repository))
    await feeder.feed(now(2, repository, event="issues", action="closed", ended="closed"))
    [note] = await eventually(store.notes)
    assert (note.what, note.text) == ("ended", "issue closed after 2 comments")
    task = jobs.task(Thread, f"{repository}#7")
    await eventually(lambda: _status(task.status, "terminated"))


@pytest.mark.usefixtures("worker")
async def test_a_thread_that_is_opened_again_starts_afresh(
    feeder: JobFeeder, store: Store, queue: str
) -> None:
    repository = f"octocat/{queue}"
    await feeder.feed(now(1, repository, event="issues", action="closed", ended="closed"))
    await eventually(lambda: [t for t in store.threads() if t.state == "closed"])
    await feeder.feed(now(2, repository, event="issues", action="reopened", comment=False))
    [thread] = await eventually(lambda: [t for t in store.threads() if t.state == "open"])
    assert thread.comments == 0


async def _status(status: Callable[[], Awaitable[object]], wanted: str) -> bool:
    return getattr(await status(), "status", None) == wanted


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
