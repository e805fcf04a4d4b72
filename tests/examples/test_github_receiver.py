"""The receiver takes what GitHub signed, once, and nothing else."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from examples.github.demo.replay import load
from examples.github.receiver import create_app, sign
from examples.github.settings import Settings
from examples.github.store import Store
from tests.examples.github_support import SECRET, RecordingFeeder, Service, service

SIGNATURE = "X-Hub-Signature-256"


@pytest.fixture
async def github(tmp_path: Path) -> AsyncIterator[Service]:
    """The receiver, with a feeder that keeps what it is given."""
    async with service(tmp_path) as running:
        yield running


async def test_a_signed_delivery_is_handed_on_and_answered_with_what_was_done(
    github: Service,
) -> None:
    response = await github.deliver()
    assert response.status_code == 202
    assert response.json() == {
        "delivery": "d-1",
        "event": "ping",
        "action": None,
        "duplicate": False,
        "jobs": ["recorded"],
    }
    assert [fed.id for fed in github.feeder.fed] == ["d-1"]


def test_a_signature_is_the_one_that_github_documents() -> None:
    signature = sign(SECRET.encode(), b"Hello, World!")
    expected = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert signature == f"sha256={expected}"


@pytest.mark.parametrize(
    "signature",
    ["", "sha256=", f"sha256={'0' * 64}", "sha1=1", sign(b"other", b"{}"), "sha256=\u00e9"],
)
async def test_a_wrong_or_missing_signature_is_refused(github: Service, signature: str) -> None:
    response = await github.deliver(b"{}", headers={SIGNATURE: signature})
    assert response.status_code == 401
    assert not github.feeder.fed


async def test_a_body_that_was_changed_after_signing_is_refused(github: Service) -> None:
    signature = sign(SECRET.encode(), b'{"a": 1}')
    response = await github.deliver(b'{"a": 2}', headers={SIGNATURE: signature})
    assert response.status_code == 401


@pytest.mark.parametrize(
    "body", [b"", b"hello", b"[1]", b"7", b"\xff\xfe", b"payload=%7B%7D", b"[" * 50_000]
)
async def test_a_body_that_is_no_json_object_is_refused(github: Service, body: bytes) -> None:
    response = await github.deliver(body)
    assert response.status_code == 400
    assert "JSON object" in response.json()["error"]


@pytest.mark.parametrize("header", ["X-GitHub-Event", "X-GitHub-Delivery"])
@pytest.mark.parametrize("value", ["", "x" * 101])
async def test_a_delivery_without_a_usable_event_or_id_is_refused(
    github: Service, header: str, value: str
) -> None:
    response = await github.deliver(headers={header: value})
    assert response.status_code == 400
    assert header in response.json()["error"]


async def test_a_body_declared_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    async with service(tmp_path, max_body=1000) as github:
        response = await github.deliver(b"{}", headers={"Content-Length": "1001"})
        assert response.status_code == 413


async def test_a_body_that_turns_out_too_large_is_refused(tmp_path: Path) -> None:
    async def endless() -> AsyncGenerator[bytes, None]:
        while True:
            yield b"x" * 400

    async with service(tmp_path, max_body=1000) as github:
        response = await github.client.post("/webhooks/github", content=endless())
        assert response.status_code == 413


async def test_a_body_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    body = json.dumps({"zen": "x" * 989}).encode()
    async with service(tmp_path, max_body=len(body)) as github:
        assert (await github.deliver(body)).status_code == 202


async def test_a_delivery_that_comes_again_is_dropped(github: Service) -> None:
    await github.deliver()
    response = await github.deliver()
    assert response.status_code == 202
    assert response.json()["duplicate"] is True
    assert len(github.feeder.fed) == 1


async def test_two_copies_of_a_delivery_at_once_are_taken_once(github: Service) -> None:
    responses = await asyncio.gather(*(github.deliver() for _ in range(5)))
    assert sorted(response.json()["duplicate"] for response in responses) == [False] + [True] * 4
    assert len(github.feeder.fed) == 1


async def test_a_delivery_the_jobs_refused_is_taken_when_it_comes_again(github: Service) -> None:
    github.feeder.refuses = True
    refused = await github.deliver()
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "30")
    github.feeder.refuses = False
    assert (await github.deliver()).json()["duplicate"] is False
    assert len(github.feeder.fed) == 1


async def test_an_event_of_a_type_nobody_knows_is_taken(github: Service) -> None:
    body = json.dumps({"action": "boldly", "repository": {"full_name": "a/b"}}).encode()
    response = await github.deliver(body, event="starship")
    assert response.status_code == 202
    [fed] = github.feeder.fed
    assert (fed.event, fed.action, fed.key) == ("starship", "boldly", "a/b")


async def test_all_recorded_deliveries_are_taken(github: Service) -> None:
    for sending in load():
        response = await github.deliver(sending.body, event=sending.event, delivery=sending.id)
        assert response.status_code == 202, sending.event
    assert len(github.feeder.fed) == 100


async def test_only_post_is_answered_at_the_webhook(github: Service) -> None:
    assert (await github.client.get("/webhooks/github")).status_code == 405


def test_the_receiver_does_not_start_without_a_secret(tmp_path: Path) -> None:
    options = Settings(database=tmp_path / "github.db", webhook_secret=None)
    with Store(options.database) as store, pytest.raises(ValueError, match="WEBHOOK_SECRET"):
        create_app(store, RecordingFeeder(), options)
