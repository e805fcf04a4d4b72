"""Real deliveries, sent as GitHub sends them: signed, several at a time, some of them twice."""

import asyncio
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import httpx

from examples.github.events import Delivery, Payload, read_delivery
from examples.github.receiver import sign

from .errors import DemoError

_DATA = Path(__file__).resolve().parents[1] / "data" / "github_webhooks.jsonl"
_AT_ONCE = 8
_BUSY_WAITS = (1.0, 3.0, 10.0)
"""Seconds before a delivery is sent again that the receiver was too busy for."""
_NAMESPACE = uuid.UUID("7d0d7d5e-4c0c-4b55-9d3b-6a0a2a6c0d11")


@dataclass(frozen=True, slots=True)
class Sending:
    """One request to make."""

    id: str
    event: str
    body: bytes

    def read(self) -> Delivery:
        """Give what the receiver will take out of it."""
        payload = cast("Payload", json.loads(self.body))
        return read_delivery(self.id, self.event, payload, datetime.now(UTC))


@dataclass(slots=True)
class Outcome:
    """What the receiver answered."""

    sent: int = 0
    taken: set[str] = field(default_factory=set[str])
    dropped: int = 0


def load(count: int | None = None) -> list[Sending]:
    """Give the first `count` deliveries, spread over all event types; all of them without one."""
    lines = _DATA.read_text(encoding="utf-8").splitlines()
    step = len(lines) / (count or len(lines))
    chosen = [lines[int(i * step)] for i in range(count or len(lines))]
    return [_sending(number, json.loads(line)) for number, line in enumerate(chosen)]


def _sending(number: int, recorded: dict[str, object]) -> Sending:
    body = json.dumps(recorded["payload"], ensure_ascii=False).encode()
    return Sending(str(uuid.uuid5(_NAMESPACE, str(number))), str(recorded["event"]), body)


def twice(sendings: list[Sending]) -> list[Sending]:
    """Repeat every second one: half of these while the first is under way, half much later."""
    planned: list[Sending] = []
    for number, sending in enumerate(sendings):
        planned += [sending] * (2 if number % 4 == 0 else 1)
    return planned + sendings[2::4]


async def send(
    sendings: Iterable[Sending], url: str, secret: str, progress: Callable[[Outcome], None]
) -> Outcome:
    """Send all, in order, a few at a time; calls `progress` after each.

    Raises:
        DemoError: the receiver did not answer, or not with 202.
    """
    outcome = Outcome()
    waiting = iter(sendings)

    async def one_by_one(client: httpx.AsyncClient) -> None:
        for sending in waiting:
            response, again = await _deliver(client, url, secret, sending)
            _book(outcome, sending, response, again=again)
            progress(outcome)

    try:
        async with (
            httpx.AsyncClient(timeout=30, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(_AT_ONCE):
                group.create_task(one_by_one(client))
    except* (DemoError, httpx.TransportError) as failures:
        raise DemoError(str(failures.exceptions[0])) from failures
    return outcome


async def _deliver(
    client: httpx.AsyncClient, url: str, secret: str, sending: Sending
) -> tuple[httpx.Response, bool]:
    """Send one, and send it again where the receiver is busy; says whether it did."""
    response, again = await _post(client, url, secret, sending), False
    for wait in _BUSY_WAITS:
        if response.status_code != 503:
            break
        await asyncio.sleep(wait)
        response, again = await _post(client, url, secret, sending), True
    return response, again


async def _post(
    client: httpx.AsyncClient, url: str, secret: str, sending: Sending
) -> httpx.Response:
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/demo",
        "X-GitHub-Delivery": sending.id,
        "X-GitHub-Event": sending.event,
        "X-Hub-Signature-256": sign(secret.encode(), sending.body),
    }
    return await client.post(f"{url}/webhooks/github", content=sending.body, headers=headers)


def _book(outcome: Outcome, sending: Sending, response: httpx.Response, *, again: bool) -> None:
    if response.status_code != 202:
        raise DemoError(f"delivery {sending.id} got {response.status_code}: {response.text}")
    outcome.sent += 1
    # What was answered with "busy" may have been taken all the same.
    known = sending.id in outcome.taken or not again
    if response.json()["duplicate"] and known:
        outcome.dropped += 1
    elif sending.id in outcome.taken:
        raise DemoError(f"delivery {sending.id} was taken twice")
    else:
        outcome.taken.add(sending.id)
