"""The receiver of GitHub's webhooks, and the page and API that show what came of them.

Run it with `python -m examples.github.receiver`.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import cast
from weakref import WeakValueDictionary

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .events import Delivery, Payload, read_delivery
from .feeder import Feeder, FeedError, JobFeeder
from .settings import Settings, settings
from .store import Store
from .views import Views

_log = logging.getLogger(__name__)
_MAX_HEADER = 100


class Receiver:
    """Checks deliveries and hands each to the jobs once."""

    def __init__(self, store: Store, feeder: Feeder, secret: str, max_body: int) -> None:
        self._store = store
        self._feeder = feeder
        self._secret = secret.encode()
        self._max_body = max_body
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def webhook(self, request: Request) -> Response:
        """`POST /webhooks/github`: 202 once the delivery is safe with the jobs."""
        body = await self._body(request)
        self._check_signature(request, body)
        event = _header(request, "X-GitHub-Event")
        delivery_id = _header(request, "X-GitHub-Delivery")
        delivery = read_delivery(delivery_id, event, _payload(body), datetime.now(UTC))
        # Two copies at once: the second waits and then finds the first recorded.
        async with self._locks.setdefault(delivery_id, asyncio.Lock()):
            return await self._take(delivery)

    async def _take(self, delivery: Delivery) -> Response:
        answer = {"delivery": delivery.id, "event": delivery.event, "action": delivery.action}
        if await asyncio.to_thread(self._store.seen, delivery.id):
            return JSONResponse({**answer, "duplicate": True, "jobs": []}, 202)
        try:
            fed = await self._feeder.feed(delivery)
        except FeedError as error:
            _log.warning("delivery %s was not taken: %s", delivery.id, error)
            raise HTTPException(503, "the jobs are not reachable", {"Retry-After": "30"}) from error
        # Recorded after the jobs have it: dying in between makes a duplicate, which the jobs drop
        # by its id, never a loss.
        await asyncio.to_thread(self._store.record_delivery, delivery)
        return JSONResponse({**answer, "duplicate": False, "jobs": fed}, 202)

    async def _body(self, request: Request) -> bytes:
        declared = request.headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > self._max_body:
            raise HTTPException(413, f"more than {self._max_body} bytes")
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_body:
                    raise HTTPException(413, f"more than {self._max_body} bytes")
        except ClientDisconnect as error:
            raise HTTPException(400, "the body ended early") from error
        return bytes(body)

    def _check_signature(self, request: Request, body: bytes) -> None:
        given = request.headers.get("X-Hub-Signature-256", "")
        if not hmac.compare_digest(given.encode(), sign(self._secret, body).encode()):
            raise HTTPException(401, "X-Hub-Signature-256 is missing or wrong")


def sign(secret: bytes, body: bytes) -> str:
    """Give the `X-Hub-Signature-256` of a body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def create_app(store: Store, feeder: Feeder, options: Settings) -> Starlette:
    """Give the receiver as an application; the store stays the caller's to close.

    Raises:
        ValueError: no webhook secret is set.
    """
    if not options.webhook_secret or not (secret := options.webhook_secret.get_secret_value()):
        raise ValueError("set GITHUB_JOBS_WEBHOOK_SECRET to the secret entered at GitHub")
    receiver = Receiver(store, feeder, secret, options.max_body)
    views = Views(store)
    return Starlette(
        routes=[
            Route("/", views.index),
            Route("/api/digests", views.digests),
            Route("/api/health", views.health),
            Route("/api/threads", views.threads),
            Route("/healthz", views.healthz),
            Route("/webhooks/github", receiver.webhook, methods=["POST"]),
        ],
        exception_handlers={HTTPException: _error},
        lifespan=_pruning(store, options),
    )


def _pruning(
    store: Store, options: Settings
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    async def prune() -> None:
        while True:
            before = datetime.now(UTC) - options.remember_for
            await asyncio.to_thread(store.forget_deliveries, before)
            await asyncio.sleep(3600)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None, None]:
        task = asyncio.create_task(prune())
        yield
        task.cancel()

    return lifespan


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name, "").strip()
    if not value or len(value) > _MAX_HEADER:
        raise HTTPException(400, f"{name} is missing or too long")
    return value


def _payload(body: bytes) -> Payload:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise HTTPException(400, "the body is no JSON object; choose application/json at GitHub")
    return cast("Payload", payload)


async def _error(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    options = settings()
    with Store(options.database) as store:
        try:
            app = create_app(store, JobFeeder(), options)
        except ValueError as error:
            sys.exit(str(error))
        uvicorn.run(app, host=options.host, port=options.port, access_log=False)


if __name__ == "__main__":
    main()
