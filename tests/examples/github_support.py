"""What the tests of the GitHub example share."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
from pydantic import SecretStr

from examples.github.events import Delivery
from examples.github.feeder import FeedError
from examples.github.receiver import create_app, sign
from examples.github.settings import Settings
from examples.github.store import Store

SECRET = "It's a Secret to Everybody"
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class RecordingFeeder:
    """A feeder that keeps what it is given, and refuses while it is told to."""

    def __init__(self) -> None:
        self.fed: list[Delivery] = []
        self.refuses = False

    async def feed(self, delivery: Delivery) -> list[str]:
        """Keep it."""
        if self.refuses:
            raise FeedError("not now")
        self.fed.append(delivery)
        return ["recorded"]


class Service:
    """The receiver with a recording feeder, and a client to call it with."""

    def __init__(self, client: httpx.AsyncClient, store: Store, feeder: RecordingFeeder) -> None:
        self.client = client
        self.store = store
        self.feeder = feeder

    async def deliver(
        self,
        body: bytes = b'{"zen": "Design for failure."}',
        *,
        event: str = "ping",
        delivery: str = "d-1",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Post a delivery as GitHub does, with other headers; one given empty is left out."""
        all_headers = {
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery,
            "X-Hub-Signature-256": sign(SECRET.encode(), body),
            **(headers or {}),
        }
        given = {name: value for name, value in all_headers.items() if value}
        sent = httpx.Headers(given, encoding="latin-1")
        return await self.client.post("/webhooks/github", content=body, headers=sent)


@asynccontextmanager
async def service(path: Path, *, max_body: int = 100_000) -> AsyncGenerator[Service, None]:
    """Give the receiver on a database in `path`."""
    options = Settings(
        database=path / "github.db", webhook_secret=SecretStr(SECRET), max_body=max_body
    )
    feeder = RecordingFeeder()
    with Store(options.database) as store:
        transport = httpx.ASGITransport(create_app(store, feeder, options))
        async with httpx.AsyncClient(transport=transport, base_url="http://receiver") as client:
            yield Service(client, store, feeder)


def delivery(serial: int = 1, /, **changes: object) -> Delivery:
    """Give a comment in an issue, with changes."""
    fields: dict[str, object] = {
        "id": f"d-{serial}",
        "event": "issue_comment",
        "action": "created",
        "at": NOW,
        "key": "octocat/hello",
        "repository": "octocat/hello",
        "sender": "octocat",
        "title": "Spelling",
        "kind": "issue",
        "number": 7,
        "comment": True,
    }
    return Delivery.model_validate({**fields, **changes})
