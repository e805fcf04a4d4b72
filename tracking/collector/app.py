"""The web application: intake, API and page."""

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from durable_jobs.wire import as_unicode

from .acknowledging import Acknowledging
from .answers import answer
from .api import Api
from .auth import Guard
from .body import MAX_BYTES, Bodies, TooLarge, says_json
from .erasing import Erasing
from .front import Application, Front
from .hosts import Hosts
from .intake import MAX_ELEMENTS, Accepted, Batch, Malformed, TooMany, read_batch
from .queries import WrongQuery
from .settings import CollectorSettings
from .signs import ASKING, Signs
from .store import Store, StoreBusy
from .stream import News
from .writing import kept

Show: TypeAlias = Callable[[dict[str, Any]], None]
"""Gets each event that is new, once it is kept."""

_LARGE = 65_536  # bytes of a body: its parsing must not hold the others up
_INTAKE = ("/", "/events", "/{path:path}/events")
_PAGE = Path(__file__).parent / "page"
_MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

_log = logging.getLogger(__name__)


def create_app(
    store: Store, news: News, settings: CollectorSettings, show: Show | None = None
) -> Application:
    """Give the collector over an open store."""
    guard, signs = Guard(settings), Signs()
    intake = _Intake(store, news, guard, signs, show)
    app = Starlette(
        routes=[
            *(Route(path, intake.take, methods=["POST"]) for path in _INTAKE),
            *_page_routes(),
            *Acknowledging(store, guard).routes,
            *Erasing(store, guard).routes,
            *Api(store, news, settings, signs).routes,
        ],
        exception_handlers={
            HTTPException: _unroutable,
            WrongQuery: _wrong,
            Malformed: _wrong,
            StoreBusy: _unavailable,
            sqlite3.Error: _unavailable,
        },
    )
    # A sender would not follow.
    app.router.redirect_slashes = False
    return Front(app, Hosts(settings.names))


async def _unroutable(_: Request, error: Exception) -> Response:
    """What no route answers."""
    assert isinstance(error, HTTPException)
    nothing = "there is nothing here; events are taken at /events, the page is at /"
    text = nothing if error.status_code == 404 else error.detail
    return answer({"error": text}, error.status_code, dict(error.headers or {}))


async def _wrong(_: Request, error: Exception) -> Response:
    """What was sent, or asked, cannot be understood."""
    return answer({"error": str(error)}, 400)


async def _unavailable(_: Request, error: Exception) -> Response:
    """What may be possible later."""
    return answer({"error": str(error)}, 503, {"Retry-After": "1"})


class _Intake:
    """`POST` of a batch, to `/` or to any path that ends in `/events`."""

    def __init__(
        self, store: Store, news: News, guard: Guard, signs: Signs, show: Show | None
    ) -> None:
        self._store, self._news, self._guard, self._signs = store, news, guard, signs
        self._show = show
        self._bodies, self._parsing = Bodies(), asyncio.Lock()

    async def take(self, request: Request) -> Response:
        if problem := self._guard.token_problem(request.headers):
            return answer({"error": problem}, 401, {"WWW-Authenticate": "Bearer"})
        if not says_json(request.headers):
            return answer({"error": "the Content-Type must be application/json"}, 415)
        with self._bodies.room() as room:
            try:
                body = await room.read(request.stream())
            except TooLarge:
                return _closing(f"over {MAX_BYTES} bytes", 413)
            except TimeoutError:
                return _closing("the body did not come in time", 408)
            except ClientDisconnect:
                return answer({"error": "the body ended early"}, 400)
            if problem := self._guard.signature_problem(request.headers, body):
                return answer({"error": problem}, 401)
            self._signs.note(request.headers)
            return await self._keep(body)

    async def _keep(self, body: bytes) -> Response:
        try:
            batch = await self._read(body)
        except TooMany:
            # A worker sends it again in halves.
            return answer({"error": f"over {MAX_ELEMENTS} events"}, 413)
        new = await self._store.add(batch.accepted)
        self._tell(new)
        return answer(_verdicts(batch, new, await self._copies(batch)), headers=ASKING)

    async def _read(self, body: bytes) -> Batch:
        if len(body) <= _LARGE:
            return read_batch(body)
        # One at a time: what is parsed takes many times the room of its text.
        async with self._parsing:
            return await asyncio.to_thread(read_batch, body)

    async def _copies(self, batch: Batch) -> set[str]:
        """IDs under which one event is refused and another, good one is kept."""
        if not batch.errors:
            return set()
        # An ID with a lone surrogate is JSON, but no text under which anything could be kept.
        names = [name for name in batch.errors if as_unicode(name) == name]
        before = await self._store.read(partial(kept, event_ids=names))
        return before | (batch.errors.keys() & {event.event_id for event in batch.accepted})

    def _tell(self, new: list[Accepted]) -> None:
        if new:
            self._news.tell()
        if self._show:
            for event in new:
                self._show(event.data)


def _closing(problem: str, status: int) -> Response:
    """An answer to a body of which more may follow."""
    return answer({"error": problem}, status, {"Connection": "close"})


def _verdicts(batch: Batch, new: list[Accepted], copies: set[str]) -> dict[str, Any]:
    refused = len(batch.errors) + batch.unnamed
    if refused == 1:
        _log.warning("Refused an event: %s", batch.example)
    elif refused:
        _log.warning("Refused %d events, the first: %s", refused, batch.example)
    # A sender would count as lost what is kept.
    errors = {name: reason for name, reason in batch.errors.items() if name not in copies}
    return {
        "rejected": list(errors),
        "errors": errors,
        "unnamed": batch.unnamed,
        "accepted": len(new),
        "duplicates": len(batch.accepted) - len(new) + len(copies),
    }


def _page_routes() -> list[Route]:
    """The page's files, read once."""
    files = {path.name: path for path in _PAGE.iterdir() if path.suffix in _MEDIA}
    return [
        Route("/" if name == "index.html" else f"/{name}", _file(path))
        for name, path in files.items()
    ]


def _file(path: Path) -> Callable[..., Any]:
    content, media = path.read_bytes(), _MEDIA[path.suffix]

    async def file(_: Request) -> Response:
        return Response(content, headers=_SAFE, media_type=media)

    return file
