"""What the collector takes, and what it refuses."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_jobs.tracking import HttpSink
from durable_jobs.tracking.collector import _protocol as protocol
from durable_jobs.tracking.collector import body as body_module
from durable_jobs.tracking.sinks.signing import signed_headers, signing_key
from tests.support import eventually

from .support import Sender, event, failed, running

SECRET = "whsec_" + base64.b64encode(b"a key of a good length").decode()


async def test_an_event_that_comes_again_is_kept_and_counted_once(collector: Sender) -> None:
    assert (await collector.send(event(), event()))["duplicates"] == 1
    again = await collector.send(event())
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (0, 1, [])
    assert await collector.ids() == ["x-1"]
    [instance] = (await collector.get("/api/instances"))["instances"]
    assert (instance["events"], instance["executed"]) == (1, 1)


async def test_one_event_sent_by_many_at_once_is_kept_once(collector: Sender) -> None:
    answers = await asyncio.gather(*(collector.send(event()) for _ in range(20)))
    assert sum(answer["accepted"] for answer in answers) == 1
    assert await collector.ids() == ["x-1"]


@pytest.mark.parametrize("path", ["/", "/events", "/v1/tracking/events"])
async def test_events_may_be_sent_to_any_path_that_ends_in_events(
    collector: Sender, path: str
) -> None:
    assert (await collector.post(event(), path=path)).status_code == 200


async def test_another_path_takes_none(collector: Sender) -> None:
    assert (await collector.post(event(), path="/eventss")).status_code == 404


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", "{}", '{"events": 5}', '"x"', '{"events": [NaN]}', "[" * 100_000, "\xff"],
)
async def test_a_body_that_is_no_batch_is_refused_as_a_whole(collector: Sender, body: str) -> None:
    answer = await collector.http.post("/events", content=body.encode("latin-1"))
    assert answer.status_code == 400
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"timestamp": 5}, "timestamp"),
        ({"timestamp": "yesterday"}, "timestamp"),
        ({"timestamp": "2026-01-02T03:04:05"}, "timestamp"),
        ({"sequence": 0}, "sequence"),
        ({"sequence": 2**70}, "sequence"),
        ({"sequence": "1"}, "sequence"),
        ({"instanceId": ["a"]}, "instanceId"),
        ({"instanceId": "\ud800"}, "instanceId"),
        ({"type": None}, "type"),
        ({"runCount": "many"}, "runCount"),
        ({"jobType": "other"}, "jobType"),
        ({"type": "job.failed", "error": "text", "willRetry": True}, "error"),
    ],
)
async def test_a_malformed_event_is_refused_by_name_and_the_others_are_kept(
    collector: Sender, change: dict[str, Any], words: str
) -> None:
    bad = {**event(2), **change}
    content = json.dumps({"events": [event(1), bad, event(3)]})
    answer = (await collector.http.post("/events", content=content)).json()
    assert answer["rejected"] == ["x-2"]
    assert words in answer["errors"]["x-2"]
    assert await collector.ids() == ["x-3", "x-1"]


async def test_refused_events_without_an_id_are_counted(collector: Sender) -> None:
    nameless = {name: value for name, value in event(2).items() if name != "eventId"}
    answer = await collector.send(event(1), nameless, 5, None, event(3, eventId=7))
    assert (answer["accepted"], answer["unnamed"], answer["rejected"]) == (1, 4, [])


async def test_an_unknown_type_and_an_event_without_a_sequence_are_kept(collector: Sender) -> None:
    other = event(2, type="job.paused", reason={"any": "thing"})
    for name in ("executionId", "sequence"):
        other.pop(name)
    assert (await collector.send(other))["accepted"] == 1
    assert (await collector.get("/api/events"))["events"] == [other]
    assert (await collector.get("/api/gaps"))["total"] == 0


async def test_an_event_is_given_back_as_it_came(collector: Sender) -> None:
    sent = failed(1, 'a "quoted" \ud800 text\nof lines', extra={"b": [1.0, None]})
    raw = json.dumps(sent, indent=1)
    await collector.http.post("/events", content=f'{{"a": 1, "events" : [ {raw} ], "z": {{}}}}')
    found = await collector.http.get("/api/events")
    assert json.loads(found.text)["events"] == [sent]


async def test_50_mb_are_refused_and_the_sender_learns_why(collector: Sender) -> None:
    answer = await collector.http.post("/events", content=b" " * 50_000_000)
    assert answer.status_code == 413
    assert (await collector.send(event()))["accepted"] == 1


async def test_a_body_without_a_length_is_counted_while_it_comes(collector: Sender) -> None:
    async def parts() -> Any:
        for _ in range(30):
            yield b" " * 100_000

    assert (await collector.http.post("/events", content=parts())).status_code == 413


async def test_half_a_request_leaves_nothing_and_harms_nothing(collector: Sender) -> None:
    url = httpx.URL(collector.address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    body = json.dumps({"events": [event()]}).encode()
    head = f"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body[: len(body) // 2])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert not (await reader.read()).startswith(b"HTTP/1.1 200")
    assert await collector.ids() == []
    assert (await collector.send(event(2)))["accepted"] == 1


async def connected(collector: Sender) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx.URL(collector.address)
    return await asyncio.open_connection(url.host, url.port)


@pytest.mark.parametrize("part", [b"", b"POST /events HT", b"POST /events HTTP/1.1\r\nHost: x\r\n"])
async def test_who_does_not_finish_a_head_is_sent_away(
    collector: Sender, monkeypatch: pytest.MonkeyPatch, part: bytes
) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.3)
    reader, writer = await connected(collector)
    writer.write(part)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    assert (await collector.send(event()))["accepted"] == 1


async def test_who_does_not_finish_a_second_head_is_sent_away_too(
    collector: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "_HEAD_SECONDS", 0.3)
    reader, writer = await connected(collector)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT")
    async with asyncio.timeout(10):
        assert (await reader.read()).endswith(b'{"status":"ok"}')
    writer.close()


async def test_a_body_that_comes_too_slowly_is_refused(
    collector: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "_SECONDS", 0.3)
    reader, writer = await connected(collector)
    writer.write(b"POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{")
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000 + "]" * 100_000, "9" * 10_000, "{" + '"a":{' * 5_000 + "}" * 5_001],
    ids=["deep lists", "a huge number", "deep objects"],
)
async def test_what_no_parser_should_be_given_is_refused_and_harms_nothing(
    collector: Sender, value: str
) -> None:
    whole = json.dumps({"events": [event(1)]})
    body = whole[:-3] + f', "extra": {value}}}]}}'
    assert (await collector.http.post("/events", content=body)).status_code == 400
    assert (await collector.send(event(2)))["accepted"] == 1
    assert await collector.ids() == ["x-2"]


@pytest.mark.parametrize("value", ["[" * 700 + "]" * 700, "1e999", "-0.0", "9" * 4_000])
async def test_what_is_taken_is_given_back_in_its_very_text(collector: Sender, value: str) -> None:
    body = json.dumps({"events": [event(1)]})[:-3] + f', "extra": {value}}}]}}'
    answer = await collector.http.post("/events", content=body)
    assert answer.json()["accepted"] == 1
    assert value in (await collector.http.get("/api/events")).text


async def test_of_two_members_with_one_name_the_last_counts(collector: Sender) -> None:
    one, other = json.dumps([event(1)]), json.dumps([event(2)])[:-2] + ', "type": "job.started"}]'
    body = f'{{"events": {one}, "events": {other}}}'
    assert (await collector.http.post("/events", content=body)).json()["accepted"] == 1
    assert await collector.ids(type="job.started") == ["x-2"]


@pytest.mark.parametrize(
    "events", ["[1,]", "[,1]", "[1 2]", "[1", "[1]]", "[1]}x", "[01]", "[1}", "[ \x00]"]
)
async def test_almost_json_is_refused(collector: Sender, events: str) -> None:
    answer = await collector.http.post("/events", content=f'{{"events": {events}}}')
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "body", ['{"events":[]}', ' { "events" : [ ] } \n', '{"events": [], "a": 1}']
)
async def test_a_batch_may_be_empty(collector: Sender, body: str) -> None:
    answer = await collector.http.post("/events", content=body)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)


@pytest.mark.parametrize("given", [None, "Bearer wrong", "Bearer", "Basic right", "Bearer rightt"])
async def test_a_wrong_token_is_refused(tmp_path: Path, given: str | None) -> None:
    async with running(tmp_path / "events.db", token="right") as collector:
        headers = {"Authorization": given} if given else {}
        assert (await collector.post(event(), headers=headers)).status_code == 401
        assert await collector.ids() == []
        answer = await collector.post(event(), headers={"Authorization": "Bearer right"})
        assert answer.status_code == 200


@pytest.mark.parametrize("fault", ["none", "unsigned", "other key", "other body", "old", "early"])
async def test_a_signature_is_checked(tmp_path: Path, fault: str) -> None:
    body = json.dumps({"events": [event()]}).encode()
    key = b"another" if fault == "other key" else signing_key(SECRET)
    sent_at = int(time.time()) + {"old": -3600, "early": 3600}.get(fault, 0)
    headers = signed_headers(key, "msg_1", sent_at, body)
    async with running(tmp_path / "events.db", secret=SECRET) as collector:
        answer = await collector.http.post(
            "/events",
            content=body.replace(b"triage", b"other") if fault == "other body" else body,
            headers={} if fault == "unsigned" else headers,
        )
        assert answer.status_code == (200 if fault == "none" else 401)


async def test_while_secrets_change_either_is_right_and_so_is_one_of_several_signatures(
    tmp_path: Path,
) -> None:
    body = json.dumps({"events": [event()]}).encode()
    other = "whsec_" + base64.b64encode(b"the key that comes next").decode()
    headers = [signed_headers(key, "m", int(time.time()), body) for key in keys(SECRET, other)]
    wrong = signed_headers(b"another", "m", int(time.time()), body)["webhook-signature"]
    headers[1]["webhook-signature"] = f"{wrong} v1a,x {headers[1]['webhook-signature']}"
    async with running(tmp_path / "events.db", secret=f"{SECRET} {other}") as collector:
        for given in headers:
            answer = await collector.http.post("/events", content=body, headers=given)
            assert answer.status_code == 200


def keys(*secrets: str) -> list[bytes]:
    return [signing_key(secret) for secret in secrets]


async def test_the_librarys_own_sink_is_understood(tmp_path: Path) -> None:
    async with running(tmp_path / "events.db", token="t", secret=SECRET) as collector:
        headers = {"Authorization": "Bearer t"}
        sink = HttpSink(f"{collector.address}/events", headers, secret=SECRET)
        bad = event(2, timestamp="never")
        await sink.send([event(1), bad])
        assert await eventually(collector.ids) == ["x-1"]
