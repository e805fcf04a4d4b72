"""What the collector takes, and what it refuses."""

import asyncio
import base64
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from durable_jobs.tracking import HttpSink
from durable_jobs.tracking.collector import _protocol as protocol
from durable_jobs.tracking.collector import body as body_module
from durable_jobs.tracking.ids import iso_ms
from durable_jobs.tracking.sinks.signing import signed_headers, signing_key
from tests.support import eventually

from .support import Sender, event, failed, running

FAILED = {"type": "job.failed", "error": {"message": "no luck"}, "willRetry": True}
ALARM = {"type": "task.scheduled", "scheduledAt": "2126-01-01T00:00:00Z", "trigger": "event"}
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


@pytest.mark.parametrize("path", ["/eventss", "/events/", "/api/summary/", "/api/nothing"])
async def test_another_path_takes_none_and_shows_nothing(collector: Sender, path: str) -> None:
    for answer in (await collector.post(event(), path=path), await collector.http.get(path)):
        assert answer.status_code == 404
        assert "/events" in answer.json()["error"]


async def test_a_method_that_a_path_does_not_know_is_refused_as_json(collector: Sender) -> None:
    for method, path, allowed in (("GET", "/v1/events", "POST"), ("PUT", "/api/gaps", "GET")):
        answer = await collector.http.request(method, path)
        assert answer.status_code == 405
        assert allowed in answer.headers["allow"]
        assert answer.json()["error"]


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "text/plain; application/json", "application/jsonp"]
)
async def test_only_what_says_that_it_is_json_is_taken_so_that_no_foreign_page_can_send(
    collector: Sender, kind: str | None
) -> None:
    body = json.dumps({"events": [event()]}).encode()
    async with httpx.AsyncClient(base_url=collector.address, trust_env=False) as http:
        answer = await http.post(
            "/events", content=body, headers={"Content-Type": kind} if kind else {}
        )
        assert answer.status_code == 415
        assert "application/json" in answer.json()["error"]
        headers = {"Content-Type": "Application/JSON; charset=utf-8"}
        assert (await http.post("/events", content=body, headers=headers)).status_code == 200


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
        *(({**FAILED, "willRetry": value}, "willRetry") for value in ("false", "no", 1, 0, None)),
        *(({"runCount": value}, "runCount") for value in ("3", 3.0, True)),
        ({"runCount": None, "run_count": 3}, "runCount"),
        ({"durationMs": True}, "durationMs"),
        *(({"timestamp": value}, "timestamp") for value in ("1700000000", "20260102T030405Z")),
        ({"timestamp": "2026-13-02T03:04:05Z"}, "timestamp"),
        ({**ALARM, "scheduledAt": 1795650000}, "scheduledAt"),
        ({**ALARM, "scheduledAt": "1795650000"}, "scheduledAt"),
        ({**ALARM, "scheduledAt": None}, "scheduledAt"),
        ({"type": "debounce.started", "flushAt": 5}, "flushAt"),
        ({"type": "unknown", "timestamp": "1700000000"}, "timestamp"),
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


async def test_a_field_of_another_type_is_no_field_of_this_one(collector: Sender) -> None:
    odd = {"scheduledAt": 5, "flushAt": "soon", "willRetry": "no", "eventCount": True}
    unknown = event(2, type="job.later", runCount="three", durationMs=True)
    answer = await collector.send(event(1, **odd), unknown)
    assert (answer["accepted"], answer["rejected"]) == (2, [])


@pytest.mark.parametrize(
    "text", ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.678901Z", "2026-01-02T05:04:05.6+02:00"]
)
async def test_a_time_is_iso_8601_with_any_fraction_and_zone(collector: Sender, text: str) -> None:
    await collector.send(event(1, timestamp=text), event(2, **{**ALARM, "scheduledAt": text}))
    [instance] = (await collector.get("/api/instances"))["instances"]
    assert instance["firstAt"] // 1000 == instance["nextAt"] // 1000 == 1767323045


async def test_what_is_kept_under_an_id_is_not_refused_under_it_too(collector: Sender) -> None:
    bad = event(1, runCount="one")
    for accepted, events in ((1, [bad, event(1)]), (0, [bad])):
        answer = await collector.send(*events, event(2, runCount=0))
        assert answer["accepted"] == accepted
        assert (answer["rejected"], list(answer["errors"])) == (["x-2"], ["x-2"])
        assert answer["duplicates"] == 1


async def test_an_id_that_is_no_text_is_refused_under_its_name(collector: Sender) -> None:
    odd = event(1, eventId="\ud800", instanceId=json.loads("[" * 700 + "]" * 700))
    content = json.dumps({"events": [odd, event(2)]})
    answer = (await collector.http.post("/events", content=content)).json()
    assert (answer["accepted"], answer["rejected"]) == (1, ["\ud800"])


async def test_the_log_names_what_was_refused(
    collector: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    await collector.send(event(1, runCount="one"), event(2))
    await collector.send(event(3, runCount=0, instanceId="\n" * 5000), 5, None)
    one, several = [record.getMessage() for record in caplog.records]
    assert one.startswith("Refused an event: 'x-1' of 'task:triage:a': runCount: ")
    assert several.startswith("Refused 3 events, the first: 'x-3' of '\\n")
    assert len(several.splitlines()) == 1
    assert len(several) < 1000


async def test_a_clock_far_ahead_orders_nothing_before_what_comes_later(collector: Sender) -> None:
    now = datetime.now(UTC)
    early = event(1, instanceId="task:triage:early", timestamp=iso_ms(now + timedelta(days=365)))
    await collector.send(early)
    late = {"instanceId": "task:triage:late", "timestamp": iso_ms(now + timedelta(seconds=100))}
    await collector.send(event(1, executionId="y", **late))
    # Another execution of the first one, which knows the time.
    again = {"instanceId": early["instanceId"], "timestamp": iso_ms(now + timedelta(seconds=200))}
    await collector.send(event(1, type="job.terminated", executionId="z", **again))
    first, second = (await collector.get("/api/instances"))["instances"]
    assert (first["state"], second["instanceId"]) == ("terminated", "task:triage:late")
    assert await collector.ids() == ["z-1", "y-1", "x-1"]
    assert (await collector.get("/api/events"))["events"][-1] == early


async def test_refused_events_without_an_id_are_counted(collector: Sender) -> None:
    nameless = {name: value for name, value in event(2).items() if name != "eventId"}
    answer = await collector.send(event(1), nameless, 5, None, event(3, eventId=7))
    assert (answer["accepted"], answer["unnamed"], answer["rejected"]) == (1, 4, [])


async def test_an_unknown_type_and_an_event_without_a_sequence_are_kept(collector: Sender) -> None:
    other = event(2, type="job.later", reason={"any": "thing"})
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
    kind = "Content-Type: application/json\r\n"
    head = f"POST /events HTTP/1.1\r\nHost: localhost\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
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


@pytest.mark.parametrize(
    "part", [b"", b"POST /events HT", b"POST /events HTTP/1.1\r\nHost: localhost\r\n"]
)
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
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HT")
    async with asyncio.timeout(10):
        assert (await reader.read()).endswith(b'{"status":"ok"}')
    writer.close()


async def test_a_body_that_comes_too_slowly_is_refused(
    collector: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "_SECONDS", 0.3)
    reader, writer = await connected(collector)
    head = b"POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: 500\r\n\r\n{")
    async with asyncio.timeout(10):
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000 + "]" * 100_000, "{" + '"a":{' * 5_000 + "}" * 5_001],
    ids=["deep lists", "deep objects"],
)
async def test_what_no_parser_should_be_given_is_refused_and_harms_nothing(
    collector: Sender, value: str
) -> None:
    whole = json.dumps({"events": [event(1)]})
    body = whole[:-3] + f', "extra": {value}}}]}}'
    assert (await collector.http.post("/events", content=body)).status_code == 400
    assert (await collector.send(event(2)))["accepted"] == 1
    assert await collector.ids() == ["x-2"]


@pytest.mark.parametrize("field", ["runCount", "sequence", "extra"])
async def test_one_absurd_number_is_the_fault_of_its_event_alone(
    collector: Sender, field: str
) -> None:
    events = [json.dumps(event(1)), json.dumps({**event(2), field: 0}), json.dumps(event(3))]
    events[1] = events[1].replace(f'"{field}": 0', f'"{field}": {"9" * 5_000}')
    body = f'{{"events": [{", ".join(events)}]}}'
    answer = (await collector.http.post("/events", content=body)).json()
    assert (answer["accepted"], answer["rejected"]) == (2, ["x-2"])
    assert answer["errors"]["x-2"] == "has a number of more than 4,300 digits"
    assert await collector.ids() == ["x-3", "x-1"]


async def test_a_body_of_a_million_zeros_is_refused_while_others_are_served(
    collector: Sender,
) -> None:
    zeros = '{"events":[' + "0," * 999_000 + "0]}"
    began = time.monotonic()
    answers = [collector.http.post("/events", content=zeros) for _ in range(3)]
    *refused, healthy = await asyncio.gather(*answers, collector.http.get("/healthz"))
    assert [answer.status_code for answer in refused] == [413] * 3
    assert healthy.status_code == 200
    assert time.monotonic() - began < 5
    assert (await collector.send(event(1)))["accepted"] == 1


async def test_many_elements_that_are_no_events_are_counted(collector: Sender) -> None:
    assert (await collector.send(*range(9_999)))["unnamed"] == 9_999


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
        for scheme in ("Bearer", "bearer", "BEARER"):
            answer = await collector.post(event(), headers={"Authorization": f"{scheme} right"})
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
