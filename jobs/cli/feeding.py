"""Brings what the shell gives to instances, through the typed client."""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

import typer
from pydantic_core import from_json

from ..client import JobClient
from ..definitions import Job
from ..definitions.base import NAME
from ..definitions.codec import codec_of
from ..errors import InvalidEvent, JobsError, NoReply, NoWorker, PayloadTooLarge, StateMismatch
from ..kinds import KINDS
from .feed import Feed
from .leave import complain
from .lines import events_text
from .options import print_json
from .reach import FAILED, NO_ANSWER, WRONG_INPUT, Trouble
from .remote import instance_of

_AT_ONCE = 1_000
"""Events under way; those of one instance share requests."""

Send = Callable[[Any, str | None], Awaitable[Any]]


@dataclass
class Fed:
    """What came of events."""

    count: int = 0
    failed: dict[int, str] = field(default_factory=dict[int, str])
    """By line, from 1."""

    code: int = 0

    def note(self, line: int, error: JobsError, *, alone: bool) -> None:
        """Note what could not be sent, and say so."""
        self.failed[line] = str(error)
        self.code = max(self.code, _code_of(error), key=_GRAVITY.index)
        complain(error if alone else f"line {line}: {error}")


_GRAVITY = (0, WRONG_INPUT, NO_ANSWER, FAILED)


async def send_all(feed: Feed) -> int:
    """Send all events; gives the exit code."""
    job, key = await _job_of(feed)
    async with await JobClient.connect(feed.timeout) as client:
        fed, send = Fed(), _sender(client, job, key, feed)
        under_way: set[asyncio.Task[None]] = set()
        async for line, text in _lines(feed):
            task = asyncio.create_task(_one(feed, job, send, fed, (line, text)))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            # A reply stands where its event stood.
            if len(under_way) >= (1 if feed.command == "ask" else _AT_ONCE):
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.gather(*under_way)
    if feed.as_json:
        print_json({"target": feed.target, "events": fed.count, "failed": fed.failed})
    elif feed.command != "ask":
        failed = f", {len(fed.failed)} failed" if fed.failed else ""
        typer.echo(f"{feed.target}: {events_text(fed.count)} taken{failed}")
    return fed.code


async def start(feed: Feed) -> int:
    """Start an instance; gives the exit code."""
    job, key = await _job_of(feed)
    state: Any = None
    text = feed.text
    if feed.file is not None:
        with _source(feed) as source:
            text = _whole(source)
    if text is not None:
        try:
            state = codec_of(job).read_state(_json(text, "the state"))
        except StateMismatch as error:
            raise Trouble(str(error).replace("instance's ", ""), WRONG_INPUT) from error
    async with await JobClient.connect(feed.timeout) as client:
        receipt = await client.continuous(cast("Any", job), key).start(state)
    if feed.as_json:
        print_json(receipt.model_dump(mode="json", by_alias=True))
    else:
        done = "started" if receipt.created else f"is alive already ({receipt.status})"
        typer.echo(f"{feed.target}: {done}")
    return 0


async def _one(feed: Feed, job: type[Job], send: Send, fed: Fed, item: tuple[int, str]) -> None:
    line, text = item
    alone = feed.text is not None
    event_id = feed.id if alone or feed.id is None else f"{feed.id}:{line}"
    try:
        event = codec_of(job).load_event(_json(text, "the event"))
        reply = await send(event, event_id)
    except JobsError as error:
        fed.note(line, error, alone=alone)
        return
    fed.count += 1
    if feed.command == "ask":
        print_json(codec_of(job).dump_reply(reply, feed.target))


def _sender(client: JobClient, job: Any, key: str, feed: Feed) -> Send:
    match feed.command:
        case "add":
            return client.debounce(job, key).add
        case "send":
            return client.task(job, key).send
        case "ask":
            task = client.task(job, key)
            return lambda event, event_id: task.ask(event, event_id, feed.timeout)
        case _:
            pool = client.worker_pool(job)
            return lambda event, event_id: pool.enqueue(
                event, feed.partition_key, event_id, feed.priority
            )


# -- whom


async def _job_of(feed: Feed) -> tuple[type[Job], str]:
    """The class and the key of whom it is for; a class that takes any JSON where none is given."""
    if feed.kind == "workerPool":
        job_type, _, name = feed.target.partition(":")
        key = ""
        if job_type != feed.kind or not NAME.fullmatch(name):
            raise Trouble(f"{feed.target!a} is no pool like workerPool:deliver", WRONG_INPUT)
    else:
        job_type, name, key = instance_of([feed.target]).split(":", 2)
    if job_type != feed.kind:
        raise Trouble(
            f"{feed.command} is for {feed.kind} jobs, and {feed.target} is a {job_type} job",
            WRONG_INPUT,
        )
    return (await _defined(feed, name) if feed.jobs else _untyped(feed, name)), key


async def _defined(feed: Feed, name: str) -> type[Job]:
    from ..loading import load_jobs, opened

    # What they open for their handlers is not needed here, but only opened are they known.
    async with opened(*(load_jobs(reference) for reference in feed.jobs)) as jobs:
        for job in jobs:
            job.check()
            if (job.job_type, job.name) == (feed.kind, name):
                return type(job)
    known = ", ".join(f"{job.job_type} {job.name}" for job in jobs)
    raise Trouble(
        f"no {feed.kind} job is named {name!r} in {', '.join(feed.jobs)}; there are: {known}",
        WRONG_INPUT,
    )


def _untyped(feed: Feed, name: str) -> type[Job]:
    """A job of which nothing is known but its name: the worker checks events, and has options."""
    if feed.kind == "workerPool" and feed.concurrency is None:
        raise Trouble(
            "say where the job is (--jobs), or its --concurrency: they tell the instance that an "
            "event goes to",
            WRONG_INPUT,
        )
    kind = KINDS[feed.kind]
    known: dict[str, Any] = {
        "name": name,
        "event_type": Any,
        "state_type": Any,
        "reply_type": Any,
        "concurrency": feed.concurrency,
        "options": classmethod(_only_a_worker_knows),
    }
    return type("AnyJob", (kind.load(kind.definition),), known)


def _only_a_worker_knows(_: type[Job], tracking: object = None) -> Any:
    raise TypeError("only a worker knows the options of this job")


# -- what


async def _lines(feed: Feed) -> AsyncGenerator[tuple[int, str]]:
    """Each event's line, from 1, and its text, as they come."""
    if feed.text is not None:
        if feed.file is not None:
            raise Trouble("give an event, or a --file of them; not both", WRONG_INPUT)
        yield 1, feed.text
        return
    with _source(feed) as source:
        if source.isatty():
            typer.echo("Events as JSON, one a line; Ctrl-D ends.", err=True)
        line = 0
        async for text in _as_they_come(source):
            line += 1
            if text.strip():
                yield line, text


async def _as_they_come(source: TextIO) -> AsyncGenerator[str]:
    """The lines of a file or pipe, read in a thread that nobody waits for at the end."""
    lines: asyncio.Queue[str | Exception | None] = asyncio.Queue(_AT_ONCE)
    loop = asyncio.get_running_loop()

    def put(item: str | Exception | None) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(item), loop).result()

    def read() -> None:
        try:
            for text in source:
                put(text)
            put(None)
        except (OSError, UnicodeDecodeError) as error:
            put(error)

    threading.Thread(target=read, daemon=True).start()
    while (item := await lines.get()) is not None:
        if isinstance(item, Exception):
            raise Trouble(f"the events cannot be read: {item}", WRONG_INPUT) from item
        yield item


def _whole(source: TextIO) -> str:
    try:
        return source.read()
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"the state cannot be read: {error}", WRONG_INPUT) from error


@contextmanager
def _source(feed: Feed) -> Generator[TextIO]:
    if feed.file is None or str(feed.file) == "-":
        yield sys.stdin
        return
    try:
        source = feed.file.open(encoding="utf-8")
    except OSError as error:
        raise Trouble(f"{feed.file} cannot be read: {error.strerror}", WRONG_INPUT) from error
    with source:
        yield source


def _json(text: str, what: str) -> Any:
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidEvent(
            f"{what} is no JSON ({error}). A text needs its quotes too: '\"hello\"'"
        ) from error


def _code_of(error: JobsError) -> int:
    if isinstance(error, InvalidEvent | PayloadTooLarge):
        return WRONG_INPUT
    return NO_ANSWER if isinstance(error, NoWorker | NoReply) else FAILED
