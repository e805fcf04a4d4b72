"""What a collector may answer: never more than the worker can bear."""

import asyncio
import gzip
import json
import time
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from durable_jobs.tracking.sinks import Accepted, RetryLater
from durable_jobs.tracking.sinks.posting import MAX_ANSWER_BYTES, unpacked
from tests.tracking.collector import Answer, Collector
from tests.tracking.conftest import MakeSink
from tests.tracking.helpers import event, events, ids_of


def nested(size: int, layers: int) -> bytes:
    body = b" " * size
    for _ in range(layers):
        body = gzip.compress(body, 9, mtime=0)
    return body


BOMBS = [
    ("gzip", nested(100_000_000, 1)),
    ("gzip, gzip", nested(100_000_000, 2)),
    (", ".join(["gzip"] * 1000), nested(100_000_000, 2)),
    ("deflate", zlib.compress(b" " * 100_000_000, 9)),
    ("br", b"\x5b\xff\xff\x03" * 1000),
    ("zstd", b"\x28\xb5\x2f\xfd" * 1000),
    ("identity", b" " * 2_000_000),
    ("", b" " * 2_000_000),
]


@pytest.mark.parametrize(("encoding", "body"), BOMBS)
async def test_an_answer_costs_little_whatever_is_packed_in_it(
    collector: Collector, sink_to: MakeSink, encoding: str, body: bytes
) -> None:
    sink = sink_to()
    await sink.send([event(1)])
    headers = {"content-encoding": encoding} if encoding else {}
    collector.behaviour = lambda _: Answer(200, headers, body)
    tracemalloc.start()
    began = time.process_time()
    try:
        assert await sink.send([event(1)]) == Accepted()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < 1
    # The collector, in this process too, holds what it sends.
    assert peak < 3 * len(body) + 20 * MAX_ANSWER_BYTES


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("GZip ", gzip.compress),
        ("deflate", zlib.compress),
        ("identity", bytes),
    ],
)
async def test_an_answer_that_is_packed_unasked_is_read(
    collector: Collector, sink_to: MakeSink, encoding: str, pack: Callable[[bytes], bytes]
) -> None:
    batch = events(2)
    body = json.dumps({"rejected": ids_of(batch)[:1]}).encode()
    collector.behaviour = lambda _: Answer(200, {"content-encoding": encoding}, pack(body))
    result = await sink_to().send(batch)
    assert isinstance(result, Accepted)
    assert list(result.rejected) == ids_of(batch)[:1]


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (b"", "gzip"),
        (b"no gzip", "gzip"),
        (gzip.compress(b"[]", mtime=0)[:-1], "gzip"),
        (gzip.compress(b" " * (MAX_ANSWER_BYTES + 1), mtime=0), "gzip"),
        (b"[]", "compress"),
        (gzip.compress(gzip.compress(b"[]", mtime=0), mtime=0), "gzip, gzip"),
    ],
)
def test_an_answer_that_cannot_be_unpacked_within_bounds_says_nothing(
    body: bytes, encoding: str
) -> None:
    assert unpacked(body, encoding) == b""


def test_an_answer_of_the_most_bytes_is_unpacked() -> None:
    body = b" " * (MAX_ANSWER_BYTES - 1)
    assert unpacked(gzip.compress(body, mtime=0), "gzip") == body


async def test_no_encoding_is_asked_for_whatever_the_headers_say(
    collector: Collector, sink_to: MakeSink
) -> None:
    await sink_to(headers={"Accept-Encoding": "gzip"}).send([event(1)])
    assert collector.requests[0].headers["accept-encoding"] == "identity"


async def test_a_body_in_very_many_pieces_is_not_read_to_its_end(
    collector: Collector, sink_to: MakeSink
) -> None:
    pieces = Answer(200, {"transfer-encoding": "chunked"}, b"1\r\n \r\n" * 200_000)
    collector.behaviour = lambda _: pieces
    sink = sink_to()
    began = time.process_time()
    assert await sink.send([event(1)]) == Accepted()
    assert time.process_time() - began < 1


async def test_a_body_that_never_ends_is_left_after_the_time_limit(
    collector: Collector, sink_to: MakeSink
) -> None:
    collector.behaviour = lambda _: Answer(200, {"content-length": "100"}, b"{")
    async with asyncio.timeout(5):
        sink = sink_to(timeout=timedelta(seconds=0.2))
        assert await sink.send([event(1)]) == Accepted()


async def test_cookies_are_not_kept(collector: Collector, sink_to: MakeSink) -> None:
    collector.behaviour = lambda _: Answer(200, {"set-cookie": "a=b; path=/"})
    sink = sink_to()
    await sink.send([event(1)])
    await sink.send([event(2)])
    assert "cookie" not in collector.requests[1].headers


async def test_an_answer_that_is_no_http_is_not_quoted(
    collector: Collector, sink_to: MakeSink
) -> None:
    collector.behaviour = lambda _: Answer(200, {"a": "hunter2\x00"})
    result = await sink_to().send([event(1)])
    assert isinstance(result, RetryLater)
    assert "hunter2" not in result.message
