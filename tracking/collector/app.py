"""The web application: intake, API and page."""

import logging
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from .api import Api, answer
from .auth import Guard
from .body import MAX_BYTES, TooLarge, read_body
from .intake import Accepted, Batch, Malformed, read_batch
from .settings import CollectorSettings
from .store import Store, StoreBusy
from .stream import News

Show: TypeAlias = Callable[[dict[str, Any]], None]
"""Gets each event that is new, once it is kept."""

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
) -> Callable[..., Awaitable[None]]:
    """Give the collector over an open store."""
    intake = _Intake(store, news, Guard(settings), show)
    return Starlette(
        routes=[
            *Api(store, news, settings).routes,
            *_page_routes(),
            Route("/{path:path}", intake.take, methods=["POST"]),
        ]
    )


class _Intake:
    """`POST` of a batch, to `/` or to any path that ends in `/events`."""

    def __init__(self, store: Store, news: News, guard: Guard, show: Show | None) -> None:
        self._store, self._news, self._guard, self._show = store, news, guard, show

    async def take(self, request: Request) -> Response:
        path = request.url.path
        if path != "/" and not path.endswith("/events"):
            return answer({"error": "events are taken at /events"}, 404)
        if problem := self._guard.token_problem(request.headers):
            return answer({"error": problem}, 401, {"WWW-Authenticate": "Bearer"})
        try:
            body = await read_body(request.stream())
        except TooLarge:
            return answer({"error": f"over {MAX_BYTES} bytes"}, 413, {"Connection": "close"})
        except TimeoutError:
            return answer({"error": "the body did not come in time"}, 408, {"Connection": "close"})
        except ClientDisconnect:
            return answer({"error": "the body ended early"}, 400)
        if problem := self._guard.signature_problem(request.headers, body):
            return answer({"error": problem}, 401)
        return await self._keep(body)

    async def _keep(self, body: bytes) -> Response:
        try:
            batch = read_batch(body)
            new = await self._store.add(batch.accepted)
        except Malformed as error:
            return answer({"error": str(error)}, 400)
        except (StoreBusy, sqlite3.Error) as error:
            text = "too much waits to be written" if isinstance(error, StoreBusy) else str(error)
            return answer({"error": text}, 503, {"Retry-After": "1"})
        self._tell(new)
        return answer(_verdicts(batch, new))

    def _tell(self, new: list[Accepted]) -> None:
        if new:
            self._news.tell()
        if self._show:
            for event in new:
                self._show(event.data)


def _verdicts(batch: Batch, new: list[Accepted]) -> dict[str, Any]:
    refused = len(batch.errors) + batch.unnamed
    if refused:
        example = next(iter(batch.errors.values()), "one without an ID")
        _log.warning("Refused %d events, such as: %s", refused, example)
    return {
        "rejected": list(batch.errors),
        "errors": batch.errors,
        "unnamed": batch.unnamed,
        "accepted": len(new),
        "duplicates": len(batch.accepted) - len(new),
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
