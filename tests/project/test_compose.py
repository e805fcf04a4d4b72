"""The compose file and the image, as far as they can be judged without an engine."""

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ONE_SHOT = {"temporal-schema", "temporal-namespace"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()

EVENT = {
    "eventId": "1",
    "timestamp": "2026-01-02T03:04:05.678Z",
    "instanceId": "debounce:a:b",
    "id": "b",
    "jobType": "debounce",
    "jobName": "a",
    "type": "debounce.started",
}

DIGEST = r"@sha256:[0-9a-f]{64}"

every_service = pytest.mark.parametrize("name", sorted(SERVICES))


def test_it_runs_everything_that_the_example_needs() -> None:
    assert set(SERVICES) == ONE_SHOT | {
        "postgres",
        "temporal",
        "temporal-ui",
        "worker",
        "collector",
        "receiver",
    }


@every_service
def test_every_image_is_pinned_or_built_here(name: str) -> None:
    service = SERVICES[name]
    if "build" in service:
        assert service["image"].endswith(":local")
    else:
        assert re.fullmatch(rf"[\w/-]+:\d+\.\d+(\.\d+)?{DIGEST}", service["image"])
    assert "auto-setup" not in service["image"]


def test_the_image_of_the_worker_builds_on_a_pinned_one() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    for base in bases:
        assert re.fullmatch(rf"python:\d+\.\d+\.\d+-slim-\w+{DIGEST}", base)
    assert len(set(bases)) == 1


def test_server_and_tools_are_of_one_version_that_the_library_supports() -> None:
    versions = {
        service["image"].partition(":")[2].partition("@")[0]
        for service in SERVICES.values()
        if service["image"].startswith(("temporalio/server:", "temporalio/admin-tools:"))
    }
    assert len(versions) == 1
    assert tuple(map(int, versions.pop().split("."))) >= (1, 28)


@every_service
def test_every_port_is_open_to_this_machine_alone(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@every_service
def test_every_lasting_service_has_a_health_check_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"].startswith("on-failure")
        return
    assert service["restart"] == "unless-stopped"
    assert "healthcheck" in service


def test_the_health_check_of_the_worker_asks_where_it_answers() -> None:
    worker = SERVICES["worker"]
    command, check = worker["command"], " ".join(worker["healthcheck"]["test"])
    address = command[command.index("--health") + 1]
    assert f"http://{address}/readyz" in check


@every_service
def test_it_waits_for_health_of_services_and_for_the_end_of_jobs(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert wait["condition"] == expected


@every_service
def test_every_secret_must_be_given(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if re.search("PASSWORD|PWD|SECRET|TOKEN", variable):
            assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value)


def test_the_file_for_a_try_gives_every_secret_and_nothing_else() -> None:
    lines = (ROOT / "examples" / "github" / "try.env").read_text().splitlines()
    given = [line.partition("=")[0] for line in lines if not line.startswith("#")]
    needed = set(re.findall(r"\$\{(\w+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert set(given) == needed
    assert len(given) == len(needed)


def test_nothing_else_comes_from_the_environment() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    used = re.findall(r"(?<!\$)\$\{?\w+[^}]*", text)
    assert used
    assert all(":?" in each for each in used)


@every_service
def test_every_container_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert "/tmp" in service["tmpfs"]
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert not service.get("privileged", False)
    assert service["security_opt"] == ["no-new-privileges:true"]


@every_service
def test_every_container_has_limits_that_a_machine_of_one_core_can_give(name: str) -> None:
    limits = SERVICES[name]["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) <= 1
    assert limits["pids"] >= 100
    assert re.fullmatch(r"\d+[MG]", limits["memory"])


def test_the_database_does_not_run_as_root_and_may_make_its_socket() -> None:
    postgres = SERVICES["postgres"]
    assert postgres["user"] == "postgres"
    assert "/var/run/postgresql" in postgres["tmpfs"]


def test_what_is_written_beside_volumes_is_temporary() -> None:
    """The image's files stay as they are: Python writes no bytecode, and data has a volume."""
    assert "PYTHONDONTWRITEBYTECODE=1" in DOCKERFILE
    for name in ("worker", "receiver", "collector"):
        written = [
            value for value in _paths(SERVICES[name]) if value.startswith("/") and ".db" in value
        ]
        mounted = [volume.partition(":")[2] for volume in SERVICES[name]["volumes"]]
        assert written
        assert all(path.startswith(tuple(mounted)) for path in written)


def _paths(service: dict[str, Any]) -> list[str]:
    return [*service["command"], *map(str, service["environment"].values())]


@every_service
def test_every_named_volume_and_config_is_declared(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        assert volume.partition(":")[0] in COMPOSE["volumes"]
    for config in SERVICES[name].get("configs", []):
        assert config["source"] in COMPOSE["configs"]


def test_the_worker_finds_the_server_and_the_collector() -> None:
    environment = SERVICES["worker"]["environment"]
    assert environment["TEMPORAL_ADDRESS"] == "temporal:7233"
    assert environment["DURABLE_JOBS_TRACKING_URL"].startswith("http://collector:4000")


def test_the_collector_shows_the_events_that_the_worker_sends_it(tmp_path: Path) -> None:
    port = _free_port()
    name, *arguments = SERVICES["collector"]["command"]
    assert name == "durable-jobs"
    assert SERVICES["collector"]["volumes"] == ["collector:/data"]
    moved = [text.replace("4000", str(port)).replace("/data", str(tmp_path)) for text in arguments]
    command = [sys.executable, "-m", "durable_jobs.cli", *moved]
    environment = {**os.environ, **SERVICES["collector"]["environment"]}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as collector:
        try:
            path = urlsplit(SERVICES["worker"]["environment"]["DURABLE_JOBS_TRACKING_URL"]).path
            _post(f"http://127.0.0.1:{port}{path}", {"events": [EVENT]})
            with httpx.Client(trust_env=False) as client:
                shown = client.get(f"http://127.0.0.1:{port}/api/instances").json()
        finally:
            collector.terminate()
    assert [one["instanceId"] for one in shown["instances"]] == ["debounce:a:b"]


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _post(url: str, body: object) -> None:
    """Post once the server is up; it gets 20 s."""
    with httpx.Client(trust_env=False) as client:
        for _ in range(200):
            try:
                client.post(url, json=body).raise_for_status()
            except httpx.ConnectError:
                time.sleep(0.1)
            else:
                return
    pytest.fail("the collector did not start")


def test_worker_and_receiver_share_the_file_of_the_example() -> None:
    worker, receiver = SERVICES["worker"], SERVICES["receiver"]
    assert worker["volumes"] == receiver["volumes"]
    database = worker["environment"]["GITHUB_JOBS_DATABASE"]
    assert receiver["environment"]["GITHUB_JOBS_DATABASE"] == database
    assert database.startswith(worker["volumes"][0].partition(":")[2])


def test_the_image_runs_as_a_user_without_rights() -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER app$", final, re.MULTILINE)
