"""What the page on deployment says about connections with credentials is what Temporal reads."""

import os
import re
from pathlib import Path

import pytest
from temporalio.service import TLSConfig

from durable_jobs.connection import connection_config

SECTION = (
    (Path(__file__).parents[2] / "docs" / "deployment.md")
    .read_text()
    .split("## Temporal Cloud")[1]
    .split("\n## ")[0]
)
[PROFILES] = re.findall(r"```toml\n(.*?)```", SECTION, re.DOTALL)
BLOCKS = [
    dict(line.strip().split("=", 1) for line in block.splitlines())
    for block in re.findall(r"(?:^    TEMPORAL_.*\n)+", SECTION, re.MULTILINE)
]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def secrets(tmp_path: Path) -> str:
    """A folder with a certificate and its key, as far as they matter here."""
    (tmp_path / "client.pem").write_bytes(b"certificate")
    (tmp_path / "client.key").write_bytes(b"key")
    return str(tmp_path)


def test_an_api_key_is_shown_over_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in BLOCKS[0].items():
        monkeypatch.setenv(name, value)
    assert connection_config() == {
        "target_host": "eu-central-1.aws.api.temporal.io:7233",
        "namespace": "shop.a1b2c",
        "api_key": "…",
        "tls": True,
    }


def test_a_certificate_is_read_from_its_files(
    monkeypatch: pytest.MonkeyPatch, secrets: str
) -> None:
    for name, value in BLOCKS[1].items():
        monkeypatch.setenv(name, value.replace("/secrets", secrets))
    assert connection_config() == {
        "target_host": "shop.a1b2c.tmprl.cloud:7233",
        "namespace": "shop.a1b2c",
        "tls": TLSConfig(client_cert=b"certificate", client_private_key=b"key"),
    }


def test_a_certificate_may_stand_in_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_CERT_DATA", "certificate")
    monkeypatch.setenv("TEMPORAL_TLS_CLIENT_KEY_DATA", "key")
    tls = TLSConfig(client_cert=b"certificate", client_private_key=b"key")
    assert connection_config().get("tls") == tls


def test_a_server_of_ones_own_is_known_by_its_certificate(
    monkeypatch: pytest.MonkeyPatch, secrets: str
) -> None:
    monkeypatch.setenv("TEMPORAL_TLS", "true")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_CA_CERT_PATH", f"{secrets}/client.pem")
    monkeypatch.setenv("TEMPORAL_TLS_SERVER_NAME", "temporal.example.com")
    tls = TLSConfig(server_root_ca_cert=b"certificate", domain="temporal.example.com")
    assert connection_config().get("tls") == tls


def test_an_empty_key_turns_tls_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "")
    assert connection_config().get("tls") is True


@pytest.mark.parametrize(("profile", "block"), [("key", 0), ("certificate", 1)])
def test_a_profile_says_the_same_as_the_variables(
    profile: str, block: int, monkeypatch: pytest.MonkeyPatch, secrets: str, tmp_path: Path
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(PROFILES.replace("/secrets", secrets), encoding="utf-8")
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", profile)
    of_profile = connection_config()
    monkeypatch.delenv("TEMPORAL_CONFIG_FILE")
    monkeypatch.delenv("TEMPORAL_PROFILE")
    for name, value in BLOCKS[block].items():
        monkeypatch.setenv(name, value.replace("/secrets", secrets))
    assert of_profile == connection_config()


def test_each_variable_of_the_page_is_tried_here() -> None:
    shown = set(re.findall(r"TEMPORAL_\w+", SECTION))
    assert shown <= set(re.findall(r"TEMPORAL_\w+", Path(__file__).read_text())) | {
        name for block in BLOCKS for name in block
    }
