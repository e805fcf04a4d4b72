"""The receiver of GitHub's webhooks, and the page and API that show what came of them.

Run it with `python -m examples.github.receiver`.
"""

import asyncio
import hashlib
import hmac
import json
import logging
import re
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import cast
from weakref import WeakValueDictionary

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .bodies import Bodies
from .events import Delivery, Payload, read_delivery
from .feeder import Feeder, FeedError, JobFeeder
from .replies import broken, endpoint, in_time, refused, reply
from .serving import config
from .settings import Settings, settings
from .store import Store
from .views import Views

_log = logging.getLogger(__name__)
_MAX_HEADER = 100
_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}")


class Receiver:
    """Checks deliveries and hands each to the jobs once."""

    def __init__(self, store: Store, feeder: Feeder, secret: str, max_body: int) -> None:
        self._store = store
        self._feeder = feeder
        self._secret = secret.encode()
        self._bodies = Bodies(max_body)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def webhook(self, request: Request) -> Response:
        """`POST /webhooks/github`: 202 once the delivery is safe with the jobs."""
        delivery = await self._read(request)
        # Two copies at once: the second waits and then finds the first recorded.
        async with self._locks.setdefault(delivery.id, asyncio.Lock()):
            return await self._take(delivery)

    async def _read(self, request: Request) -> Delivery:
        signature = request.headers.get("X-Hub-Signature-256", "")
        if not _SIGNATURE.fullmatch(signature):
            await self._bodies.discard(request)
            raise HTTPException(401, "X-Hub-Signature-256 is missing or no SHA-256")
        async with self._bodies.reading(request) as body:
            if not hmac.compare_digest(signature, sign(self._secret, body)):
                raise HTTPException(401, "X-Hub-Signature-256 is wrong")
            event = _header(request, "X-GitHub-Event")
            delivery_id = _header(request, "X-GitHub-Delivery")
            return read_delivery(delivery_id, event, _payload(body), datetime.now(UTC))

    async def _take(self, delivery: Delivery) -> Response:
        answer = {"delivery": delivery.id, "event": delivery.event, "action": delivery.action}
        if await in_time(self._store.seen, delivery.id):
            return reply({**answer, "duplicate": True, "jobs": []}, 202)
        try:
            fed = await self._feeder.feed(delivery)
        except FeedError as error:
            _log.warning("delivery %s was not taken: %s", delivery.id, error)
            raise HTTPException(503, "the jobs are not reachable", {"Retry-After": "30"}) from error
        # Recorded after the jobs have it: dying in between makes a duplicate, which the jobs drop
        # by its id, never a loss.
        await in_time(self._store.record_delivery, delivery)
        return reply({**answer, "duplicate": False, "jobs": fed}, 202)


def sign(secret: bytes, body: bytes | bytearray) -> str:
    """Give the `X-Hub-Signature-256` of a body."""
    return "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


def create_app(store: Store, feeder: Feeder, options: Settings) -> Starlette:
    """Give the receiver as an application; the store stays the caller's to close.

    Raises:
        ValueError: no webhook secret is set.
    """
    secret = options.webhook_secret.get_secret_value() if options.webhook_secret else ""
    if not secret or secret != secret.strip():
        raise ValueError(
            "set GITHUB_JOBS_WEBHOOK_SECRET to the secret entered at GitHub, no spaces around it"
        )
    receiver = Receiver(store, feeder, secret, options.max_body)
    views = Views(store)
    app = Starlette(
        routes=[
            Route("/", endpoint(views.index)),
            Route("/api/digests", endpoint(views.digests)),
            Route("/api/health", endpoint(views.health)),
            Route("/api/threads", endpoint(views.threads)),
            Route("/healthz", endpoint(views.healthz)),
            Route("/webhooks/github", receiver.webhook, methods=["POST"]),
        ],
        exception_handlers={HTTPException: refused, Exception: broken},
        lifespan=_pruning(store, options),
    )
    # GitHub would not follow.
    app.router.redirect_slashes = False
    return app


def _pruning(
    store: Store, options: Settings
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    async def prune() -> None:
        while True:
            before = datetime.now(UTC) - options.remember_for
            try:
                await asyncio.to_thread(store.forget_deliveries, before)
            except sqlite3.Error as error:
                _log.warning("old deliveries were not forgotten: %s; next try in an hour", error)
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


def _payload(body: bytearray) -> Payload:
    try:
        payload = json.loads(body)
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise HTTPException(400, "the body is no JSON object; choose application/json at GitHub")
    return cast("Payload", payload)


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    options = settings()
    try:
        # GitHub waits 10 s for an answer, so the store cannot wait as long as in a worker.
        with Store(options.database, wait=1.0) as store:
            uvicorn.Server(config(_app(store, options), options.host, options.port)).run()
    except sqlite3.Error as error:
        sys.exit(f"{options.database} cannot be used: {error}")


def _app(store: Store, options: Settings) -> Starlette:
    try:
        return create_app(store, JobFeeder(), options)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
