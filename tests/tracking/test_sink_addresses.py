"""Where a sink sends to: addresses, headers, proxies and certificates, refused at once if wrong."""

import base64
import logging
import os
from pathlib import Path

import pytest

from durable_jobs.errors import InvalidSettings
from durable_jobs.settings import load_settings, tracking_from
from durable_jobs.tracking import HttpSink
from durable_jobs.tracking.sinks import Accepted, RetryLater
from durable_jobs.tracking.sinks.address import HiddenUrl, is_local
from tests.tracking.collector import Collector
from tests.tracking.helpers import event

REMOTE = "http://collector.example/events"
UNUSABLE_PROXIES = [
    "socks://127.0.0.1:1080",
    "ftp://me:hunter2@proxy:21",
    "http://",
    "http:///path",
    "http://proxy:99999",
    "http://proxy:0",
    " http://proxy:3128",
    "me:hunter2/more@proxy:3128",
    "http://me:hunter2#more@proxy:3128",
    "http://pro xy",
    "http://proxy:hunter2",
    "direct://",
    "http://xn--/",
]
UNREADABLE_EXEMPTIONS = [
    "localhost,127.0.0.1,::1/128",
    "[::1]",
    "fd00::/8",
    "host:port",
    "http://host:port",
    "\x01",
    "é*",
]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.lower().endswith("_proxy") or name.startswith(("SSL", "DURABLE_JOBS_")):
            monkeypatch.delenv(name)


@pytest.fixture(params=["ALL_PROXY", "HTTP_PROXY", "https_proxy"])
def proxy_variable(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("proxy", UNUSABLE_PROXIES)
def test_a_proxy_that_cannot_be_set_up_is_named_at_once_and_not_quoted(
    proxy: str, proxy_variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(proxy_variable, proxy)
    with pytest.raises(ValueError, match=f"^{proxy_variable} ") as caught:
        HttpSink(REMOTE)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_socks_proxy_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ValueError, match=r"^ALL_PROXY .*httpx\[socks\]"):
        HttpSink(REMOTE)


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("exempt", UNREADABLE_EXEMPTIONS)
def test_an_exemption_that_cannot_be_read_names_its_variable_at_once(
    name: str, exempt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, exempt)
    with pytest.raises(ValueError, match=f"^{name} has an entry"):
        HttpSink(REMOTE)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSLKEYLOGFILE"])
def test_certificates_that_cannot_be_read_name_their_variable_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(tmp_path / "nowhere" / "file"))
    with pytest.raises(ValueError, match=f"^{name} cannot be used"):
        HttpSink("https://collector.example/events")


def test_a_file_without_a_certificate_names_its_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with pytest.raises(ValueError, match=r"^SSL_CERT_FILE cannot be used"):
        HttpSink("https://127.0.0.1/events")


def test_a_worker_says_at_its_start_which_variable_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", REMOTE)
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080")
    with pytest.raises(InvalidSettings, match=r"^ALL_PROXY must begin with http://, https://"):
        tracking_from(load_settings())


@pytest.mark.parametrize(
    "environment",
    [
        {"NO_PROXY": "localhost,127.0.0.1,::1/128"},
        {"ALL_PROXY": "socks://127.0.0.1:1080"},
        {"HTTP_PROXY": "http://127.0.0.1:9"},
        {"http_proxy": "http://127.0.0.1:9", "all_proxy": "http://127.0.0.1:9"},
    ],
)
async def test_a_collector_on_this_machine_needs_no_proxy(
    collector: Collector, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for host in ("127.0.0.1", "localhost", "LocalHost", "127.1", "0.0.0.0"):
        sink = HttpSink(collector.url.replace("127.0.0.1", host))
        assert await sink.send([event(1)]) == Accepted()
        await sink.close()
    assert {request.path for request in collector.requests} == {"/events"}


def test_a_proxy_that_nothing_is_sent_through_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:1080")
    monkeypatch.setenv("NO_PROXY", "localhost, *")
    assert repr(HttpSink(REMOTE)) == "HttpSink('http://collector.example', batch_size=100)"


async def test_a_collector_elsewhere_is_reached_through_the_proxy(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{collector.port}")
    sink = HttpSink(REMOTE)
    assert await sink.send([event(1)]) == Accepted()
    await sink.close()
    assert [request.path for request in collector.requests] == [REMOTE]


async def test_an_exempt_collector_is_reached_without_the_proxy(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"127.0.0.1:{collector.port}")
    monkeypatch.setenv("NO_PROXY", "collector.invalid")
    sink = HttpSink("http://collector.invalid/events")
    assert isinstance(await sink.send([event(1)]), RetryLater)
    await sink.close()
    assert not collector.requests


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("a.localhost", True),
        ("localhost.localdomain", True),
        ("127.255.0.1", True),
        ("[::1]", True),
        ("[::]", True),
        ("[::ffff:127.0.0.1]", True),
        ("0x7f000001", True),
        ("10.0.0.1", False),
        ("[fd00::1]", False),
        ("localhost.example", False),
        ("notlocalhost", False),
        ("127.0.0.1.example", False),
    ],
)
def test_this_machine_has_many_names(host: str, local: bool) -> None:
    assert is_local(HiddenUrl(f"http://{host}:4000/events")) is local


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "collector/events",
        "ftp://host/",
        "http://",
        "http:///path",
        "http:\\\\host",
        "http://host:port/",
        "http://host:0/",
        "http://host:65536/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://256.1.1.1/",
        "http://ho%20st/",
        "http://a..b/",
        "http://-a!/",
        f"http://{'a' * 64}/",
        "http://xn--/",
        " http://host/",
        "http://host/\n",
        "http://host/\x7f",
        "http://host/\x85",
        "http://host/\u2028",
        "http://host/\ud800",
        "http://ho\tst/",
        "http://host/a b",
        "http://host/#hunter2",
        "http://me:12#hunter2@host/",
        "http://me:hunter2@host:hunter2/",
        f"http://host/{'a' * 70_000}",
    ],
)
def test_an_address_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^the tracking URL ") as caught:
        HttpSink(url)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "HTTP://HOST:80/x",
        "https://my_service.internal.:8443/a%20b?x=%0a",
        "https://é.example/ü",
        "http://[::1]:4000/events",
        "http://me:hun%23ter@host/",
    ],
)
def test_an_unusual_address_is_taken(url: str) -> None:
    assert "http" in repr(HttpSink(url))


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "Content-Encoding",
        "Expect",
        "TE",
        "Upgrade",
        "",
        "a b",
        "a:",
        "a\n",
        "é",
        7,
    ],
)
def test_a_header_that_breaks_the_request_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="header"):
        HttpSink("http://localhost/", {name: "7"})


@pytest.mark.parametrize(
    "token", [" hunter2", "hunter2 ", "hunter2\n", "\thunter2", "hunter2é", "hunter2\x00", None, 7]
)
def test_a_token_that_cannot_be_sent_as_it_is_is_refused_and_not_quoted(token: str) -> None:
    with pytest.raises(ValueError, match="'Authorization'") as caught:
        HttpSink("http://localhost/", {"Authorization": token})
    assert "hunter2" not in str(caught.value)


def test_a_header_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        HttpSink("http://localhost/", {"X-Team": "a", "x-team": "b"})


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
@pytest.mark.parametrize("proxied", [False, True])
async def test_no_log_holds_what_an_address_hides(
    collector: Collector,
    level: int,
    proxied: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(level)
    secret = "me:hunter2@"
    host = f"127.0.0.1:{collector.port}"
    monkeypatch.setenv("HTTP_PROXY", f"http://{secret}{host}")
    target = "collector.example" if proxied else host
    sink = HttpSink(f"http://{secret}{target}/hunter2?token=hunter2")
    assert await sink.send([event(1)]) == Accepted()
    await sink.close()
    [request] = collector.requests
    assert request.path.endswith("/hunter2?token=hunter2")
    assert request.headers["authorization"] == f"Basic {base64.b64encode(b'me:hunter2').decode()}"
    assert f"http://{target}" in caplog.text
    assert "hunter2" not in caplog.text
    assert base64.b64encode(b"me:hunter2").decode() not in caplog.text


def test_no_text_form_holds_what_an_address_hides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", "https://me:hunter2@host:8443/x?k=hunter2")
    settings = load_settings()
    for shown in (settings, tracking_from(settings), HiddenUrl("https://me:hunter2@host/")):
        assert "hunter2" not in f"{shown!r} {shown}"
