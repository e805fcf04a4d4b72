"""The three jobs: a digest and a health summary per repository, a follow-up per thread.

For the worker: `--jobs examples.github.jobs:jobs`.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    TaskJob,
    TaskRun,
)
from durable_jobs.definitions import Job

from .digest import FAILING, Digest, plural
from .events import Delivery
from .records import DigestRecord, HealthRecord, Link, ThreadNote, ThreadRecord
from .settings import Settings, settings
from .store import Store

_MAX_LINKS = 50


class RepoDigest(DebounceJob[Delivery, Digest]):
    """Turns a burst of deliveries into one digest."""

    name = "github-digest"
    flush_after = settings().digest_after
    max_events = settings().digest_max

    def __init__(self, store: Store) -> None:
        self._store = store

    def reduce(self, state: Digest | None, event: Delivery) -> Digest:
        """Fold a delivery into the digest."""
        return (state or Digest()).plus(event)

    def execute(self, run: DebounceRun[Digest]) -> None:
        """Keep the digest."""
        digest = run.state
        record = DigestRecord(
            id=run.idempotency_key,
            key=run.key,
            first_at=digest.first_at or run.window_opened_at,
            last_at=digest.last_at or run.window_opened_at,
            deliveries=digest.count,
            reason=run.flush_reason,
            headline=digest.headline,
            lines=digest.lines,
            highlights=digest.highlights,
        )
        self._store.save_digest(record, digest.ids, digest.checks.values())


class RepoHealth(ContinuousJob[HealthRecord]):
    """Keeps up to date what is open, failing and stale in a repository."""

    name = "github-health"
    schedule = Every(settings().health_every)

    def __init__(self, store: Store, options: Settings) -> None:
        self._store = store
        self._options = options

    def execute(self, run: ContinuousRun[HealthRecord]) -> None:
        """Look at what the store knows; stop watching a repository that went quiet."""
        now = datetime.now(UTC)
        last = self._store.last_activity(run.key) or run.state.since or now
        if now - last > self._options.forget_after:
            self._store.forget_health(run.key)
            run.terminate(f"no delivery since {last:%Y-%m-%d}")
            return
        run.state = self._examine(run.key, run.state, now)
        self._store.save_health(run.key, run.state)

    def _examine(self, repository: str, before: HealthRecord, now: datetime) -> HealthRecord:
        threads = self._store.open_threads(repository)
        stale = [t for t in threads if now - t.active_at > self._options.stale_after]
        failing = [c for c in self._store.checks(repository) if c.conclusion in FAILING]
        status: Literal["ok", "stale", "failing"] = (
            "failing" if failing else "stale" if stale else "ok"
        )
        links = tuple(Link(title=f"#{t.number} {t.title}", url=t.url) for t in stale)
        return HealthRecord(
            status=status,
            since=before.since if before.since and before.status == status else now,
            checked_at=now,
            open=len(threads),
            failing=tuple(failing[:_MAX_LINKS]),
            stale=links[:_MAX_LINKS],
        )


class Thread(TaskJob[Delivery, ThreadRecord | None]):
    """Follows up an issue or pull request in which nobody has answered for a while."""

    name = "github-thread"

    def __init__(self, store: Store, options: Settings) -> None:
        self._store = store
        self._options = options

    def initial_state(self, key: str) -> ThreadRecord | None:
        """Know nothing before the first event."""
        return None

    def on_event(self, run: TaskRun[ThreadRecord | None], event: Delivery) -> None:
        """Take in what happened; a comment moves the follow-up, an end ends the job."""
        thread = self._taken(run.key, run.state, event)
        if event.ended:
            self._end(run, thread, event)
            return
        if event.comment or run.is_first_event:
            run.schedule(self._options.follow_up_after)
            thread = thread.model_copy(update={"follow_ups": 0})
        run.state = thread.model_copy(update={"follow_up_at": run.scheduled_at})
        self._store.save_thread(run.state)

    def execute(self, run: TaskRun[ThreadRecord | None]) -> None:
        """Follow up, and again later, each time after twice as long."""
        if run.state is None:
            return
        done = run.state.follow_ups + 1
        if done < self._options.follow_ups:
            run.schedule(self._options.follow_up_after * 2**done)
            due = run.scheduled_at
        else:
            due = None
        changes = {"follow_ups": done, "follow_up_at": due}
        run.state = run.state.model_copy(update=changes)
        self._store.save_thread(run.state, self._follow_up(run.idempotency_key, run.state))

    def _taken(self, key: str, before: ThreadRecord | None, event: Delivery) -> ThreadRecord:
        known = before or ThreadRecord(
            id=key,
            repository=event.repository or "",
            number=event.number or 0,
            kind=event.kind or "issue",
            title=event.title or key,
            opened_at=event.at,
            active_at=event.at,
        )
        changes = {
            "title": event.title or known.title,
            "url": event.url or known.url,
            "comments": known.comments + event.comment,
            "active_at": max(known.active_at, event.at),
        }
        return known.model_copy(update=changes)

    def _end(
        self, run: TaskRun[ThreadRecord | None], thread: ThreadRecord, event: Delivery
    ) -> None:
        reason = event.ended or "closed"
        run.state = thread.model_copy(update={"state": reason, "follow_up_at": None})
        self._store.save_thread(run.state, self._ending(run.idempotency_key, run.state, event))
        run.terminate(f"{thread.kind} {reason}")

    def _ending(self, note: str, thread: ThreadRecord, event: Delivery) -> ThreadNote | None:
        if self._store.thread_state(thread.id) == thread.state:
            return None  # A late comment on a thread that ended before is no second end.
        text = f"{thread.kind} {thread.state} after {plural(thread.comments, 'comment')}"
        return ThreadNote(id=note, thread=thread.id, what="ended", text=text, at=event.at)

    def _follow_up(self, note: str, thread: ThreadRecord) -> ThreadNote:
        now = datetime.now(UTC)
        text = f"no answer for {spoken(now - thread.active_at)}: {thread.title}"
        return ThreadNote(id=note, thread=thread.id, what="follow-up", text=text, at=now)


def spoken(span: timedelta) -> str:
    """Say a time span in its largest unit."""
    seconds = max(span.total_seconds(), 0)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return plural(int(seconds // size), unit)
    return plural(int(seconds), "second")


@asynccontextmanager
async def jobs() -> AsyncGenerator[Sequence[Job], None]:
    """Give the jobs to a worker, with the store open as long as it runs."""
    options = settings()
    store = await asyncio.to_thread(Store, options.database)
    try:
        yield [RepoDigest(store), RepoHealth(store, options), Thread(store, options)]
    finally:
        await asyncio.to_thread(store.close)
