"""Settings from the environment, and the connection to Temporal."""

import base64
import time
from datetime import timedelta
from pathlib import Path

import pytest

from durable_jobs.connection import connect, target_of
from durable_jobs.embedded import EmbeddedServer
from durable_jobs.embedded.ports import free_port
from durable_jobs.errors import InvalidSettings, TemporalUnreachable
from durable_jobs.settings import load_settings, tracking_from
from durable_jobs.tracking import HttpSink


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADDRESS", "NAMESPACE", "PROFILE", "CONFIG_FILE", "API_KEY", "TLS"):
        monkeypatch.delenv(f"TEMPORAL_{name}", raising=False)
    for name in ("TASK_QUEUE", "TRACKING_URL", "TRACKING_HEADERS", "TRACKING_SECRET", "ENV"):
        monkeypatch.delenv(f"DURABLE_JOBS_{name}", raising=False)
    monkeypatch.delenv("DURABLE_JOBS_SERVICE_KEY", raising=False)


def test_without_any_variable_the_defaults_hold_and_tracking_is_off() -> None:
    settings = load_settings()
    assert settings.task_queue == "durable-jobs"
    assert settings.env == ""
    assert tracking_from(settings) is None


def test_each_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", "orders")
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", "https://collector.example/events")
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_HEADERS", '{"Authorization": "Bearer abc"}')
    monkeypatch.setenv("DURABLE_JOBS_ENV", "production")
    monkeypatch.setenv("DURABLE_JOBS_SERVICE_KEY", "shop")
    settings = load_settings()
    tracking = tracking_from(settings)
    assert settings.task_queue == "orders"
    assert settings.tracking_headers == {"Authorization": "Bearer abc"}
    assert tracking is not None
    assert (tracking.env, tracking.service_key) == ("production", "shop")
    assert isinstance(tracking.sink, HttpSink)


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TASK_QUEUE", "")
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", "")
    settings = load_settings()
    assert settings.task_queue == "durable-jobs"
    assert settings.tracking_url is None


def test_a_secret_signs_and_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "whsec_" + base64.b64encode(b"x" * 24).decode()
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", "https://collector.example/events")
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_SECRET", secret)
    settings = load_settings()
    assert tracking_from(settings)
    assert secret not in repr(settings)


@pytest.mark.parametrize(
    "headers", ["not json", "[1]", '{"a": 1}', '{"a": {"b": "c"}}', '{"a": "hush-hush"} trailing']
)
def test_wrong_headers_name_the_variable_and_do_not_show_its_value(
    headers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_HEADERS", headers)
    with pytest.raises(
        InvalidSettings, match=r"DURABLE_JOBS_TRACKING_HEADERS.*JSON object"
    ) as info:
        load_settings()
    assert "hush" not in str(info.value)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRACKING_URL", "collector.example/events"),
        ("TRACKING_HEADERS", '{"bad name": "x"}'),
        ("TRACKING_SECRET", "secret"),
    ],
)
def test_what_the_sink_refuses_names_the_variable(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DURABLE_JOBS_TRACKING_URL", "https://collector.example/events")
    monkeypatch.setenv(f"DURABLE_JOBS_{variable}", value)
    with pytest.raises(InvalidSettings, match=f"DURABLE_JOBS_{variable}: "):
        tracking_from(load_settings())


async def test_the_address_comes_from_the_environment(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", server.target)
    client = await connect()
    assert target_of(client) == server.target
    assert client.namespace == "default"


async def test_the_address_comes_from_the_profile_file(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles = tmp_path / "temporal.toml"
    profiles.write_text(f'[profile.here]\naddress = "{server.target}"\nnamespace = "elsewhere"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profiles))
    monkeypatch.setenv("TEMPORAL_PROFILE", "here")
    client = await connect()
    assert (target_of(client), client.namespace) == (server.target, "elsewhere")


async def test_an_unknown_profile_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_PROFILE", "nowhere")
    with pytest.raises(InvalidSettings, match="nowhere"):
        await connect()


async def test_an_unreachable_server_is_named_and_the_error_says_what_to_do() -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TemporalUnreachable, match=address) as info:
        await connect(address=address, timeout=timedelta(seconds=2))
    assert "durable-jobs dev" in str(info.value)
    assert "TEMPORAL_ADDRESS" in str(info.value)


async def test_a_server_that_accepts_but_never_answers_fails_within_the_timeout() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(TemporalUnreachable, match=address):
            await connect(address=address, timeout=timedelta(seconds=0.4))
        assert time.monotonic() - started < 8
