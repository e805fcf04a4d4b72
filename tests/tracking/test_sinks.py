"""What each sink answers for one batch."""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from durable_jobs.tracking import HttpSink, MemorySink, NoopSink
from durable_jobs.tracking.sinks import Accepted, Misconfigured, Refused, RetryLater, TooLarge
from durable_jobs.tracking.sinks.http import parse_retry_after
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.conftest import MakeSink
from tests.tracking.helpers import event, events, ids_of

KEY = b"a key of some bytes"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


async def test_a_batch_is_posted_as_json_with_the_users_headers(
    collector: Collector, sink_to: MakeSink
) -> None:
    sink = sink_to(headers={"Authorization": "Bearer x", "Content-Type": "text/plain"})
    batch = events(3)
    assert await sink.send(batch) == Accepted()
    [request] = collector.requests
    assert request.path == "/events"
    assert json.loads(request.body) == {"events": batch}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer x"
    assert "webhook-id" not in request.headers


async def test_requests_share_a_connection(collector: Collector, sink_to: MakeSink) -> None:
    sink = sink_to()
    for number in range(1, 4):
        await sink.send([event(number)])
    assert {request.connection for request in collector.requests} == {1}


async def test_a_2xx_names_the_events_refused_for_good(
    collector: Collector, sink_to: MakeSink
) -> None:
    batch = events(2)
    body = json.dumps({"rejected": [ids_of(batch)[1], 5, None]}).encode()
    collector.script = [Answer(202, body=body)]
    result = await sink_to().send(batch)
    assert isinstance(result, Accepted)
    assert list(result.rejected) == [ids_of(batch)[1]]


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"rejected": "all"}', b"[" * 100_000])
async def test_a_2xx_with_any_other_body_is_plain_acceptance(
    collector: Collector, sink_to: MakeSink, body: bytes
) -> None:
    collector.behaviour = lambda _: Answer(200, body=body)
    assert await sink_to().send([event(1)]) == Accepted()


@pytest.mark.parametrize(("status", "result"), [(200, Accepted), (422, Refused), (413, TooLarge)])
@pytest.mark.parametrize("headers", [{"content-encoding": "gzip"}, {"content-length": "9"}])
async def test_a_status_counts_though_its_body_cannot_be_read(
    collector: Collector,
    sink_to: MakeSink,
    headers: dict[str, str],
    status: int,
    result: type[object],
) -> None:
    collector.behaviour = lambda _: Answer(status, headers, b"no gzip", closes=True)
    assert isinstance(await sink_to().send([event(1)]), result)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Misconfigured),
        (302, Misconfigured),
        (307, Misconfigured),
        (400, Refused),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Misconfigured),
        (405, Refused),
        (407, Refused),
        (408, RetryLater),
        (409, Refused),
        (410, Refused),
        (413, TooLarge),
        (422, Refused),
        (425, Refused),
        (429, RetryLater),
        (500, RetryLater),
        (503, RetryLater),
        (599, RetryLater),
    ],
)
async def test_each_status_has_its_meaning(
    collector: Collector, sink_to: MakeSink, status: int, kind: type[Any]
) -> None:
    answer = Answer(status, {"location": collector.url + "/elsewhere"}, b"quotes an event")
    collector.behaviour = lambda _: answer
    result = await sink_to().send([event(1)])
    assert isinstance(result, kind)
    assert str(status) in result.message
    assert "quotes" not in result.message
    assert len(collector.requests) == 1


async def test_a_hanging_collector_is_a_time_out_to_be_retried(
    collector: Collector, sink_to: MakeSink
) -> None:
    async def hang(_: Request) -> Answer:
        await asyncio.Event().wait()
        return Answer()

    collector.behaviour = hang
    result = await sink_to(timeout=timedelta(seconds=0.1)).send([event(1)])
    assert isinstance(result, RetryLater)
    assert "0.1 s" in result.message


async def test_a_closed_connection_and_a_refused_one_are_retried(
    collector: Collector, sink_to: MakeSink
) -> None:
    sink = sink_to()
    collector.script = [Answer(close=True)]
    closed = await sink.send([event(1)])
    await collector.stop()
    refused = await sink.send([event(1)])
    for result in (closed, refused):
        assert isinstance(result, RetryLater)
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+: \w.*\w", result.message)


async def test_retry_after_is_read_as_seconds_or_as_a_date(
    collector: Collector, sink_to: MakeSink
) -> None:
    collector.script = [Answer(429, {"retry-after": "7"})]
    result = await sink_to().send([event(1)])
    assert isinstance(result, RetryLater)
    assert result.retry_after == timedelta(seconds=7)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert timedelta(seconds=80) < (parse_retry_after(date) or timedelta()) < timedelta(seconds=91)


def test_retry_after_is_capped_and_nonsense_is_ignored() -> None:
    assert parse_retry_after(f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT") is None
    assert parse_retry_after("1e300") == parse_retry_after("inf") == timedelta(hours=1)
    past = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert parse_retry_after(past) == timedelta()
    for nonsense in ("soon", "-5", "nan", ""):
        assert parse_retry_after(nonsense) is None
    assert parse_retry_after(None) is None


async def test_signed_requests_verify_and_keep_their_id_over_retries(
    collector: Collector, sink_to: MakeSink
) -> None:
    sink = sink_to(secret=SECRET)
    batch = events(2)
    for sent in (batch, batch, batch[:1]):
        await sink.send(sent)
    for request in collector.requests:
        signed = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}."
        digest = hmac.new(KEY, signed.encode() + request.body, hashlib.sha256).digest()
        version, signature = request.headers["webhook-signature"].split(",")
        assert version == "v1"
        assert base64.b64decode(signature) == digest
        age = datetime.now(UTC).timestamp() - int(request.headers["webhook-timestamp"])
        assert -1 < age < 60
    first, second, third = [request.headers["webhook-id"] for request in collector.requests]
    assert first == second != third


@pytest.mark.parametrize(
    "options",
    [
        {"url": "collector/events"},
        {"url": "ftp://host/"},
        {"url": "http:///path"},
        {"url": "http://host:port/"},
        {"batch_size": 0},
        {"timeout": timedelta()},
        {"secret": "hunter2"},
        {"secret": "whsec_"},
        {"secret": "whsec_hunter2!"},
        {"headers": {"a b": "x"}},
        {"headers": {"a": "hunter2\r\nx: y"}},
    ],
)
def test_a_wrong_argument_is_refused_at_once_without_quoting_it(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        HttpSink(**{"url": "http://localhost/", **options})
    assert "hunter2" not in str(caught.value)


def test_the_text_form_of_a_sink_holds_no_credentials() -> None:
    sink = HttpSink("https://me:hunter2@host:8443/x?k=hunter2", {"a": "hunter2"}, secret=SECRET)
    assert repr(sink) == "HttpSink('https://host:8443', batch_size=100)"


async def test_a_closed_sink_opens_again(collector: Collector, sink_to: MakeSink) -> None:
    sink = sink_to()
    await sink.send([event(1)])
    await sink.close()
    await sink.send([event(2)])
    assert len(collector.accepted) == 2


def test_a_sink_works_in_one_event_loop_after_another() -> None:
    async def once(sink: HttpSink) -> None:
        await sink.send([event(1)])

    sink = HttpSink("http://127.0.0.1:9/")
    asyncio.run(once(sink))
    asyncio.run(once(sink))


async def test_a_memory_sink_keeps_copies_and_a_noop_sink_nothing() -> None:
    sink = MemorySink()
    batch = [event(1, input={"a": [1]})]
    assert await sink.send(batch) == await NoopSink().send(batch) == Accepted()
    assert sink.events == batch
    assert sink.events[0] is not batch[0]


@pytest.mark.parametrize("scheme", ["https", "HTTPS", "http"])
async def test_certificates_are_checked_wherever_there_is_tls(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[bool] = []

    class Noting(httpx.AsyncClient):
        def __init__(self, **options: Any) -> None:
            checked.append(options["verify"])
            super().__init__(**options)

    monkeypatch.setattr(httpx, "AsyncClient", Noting)
    sink = HttpSink(f"{scheme}://127.0.0.1:1/events")
    assert isinstance(await sink.send(events(1)), RetryLater)
    await sink.close()
    assert checked == [scheme != "http"]
