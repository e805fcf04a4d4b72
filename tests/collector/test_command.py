"""`durable-jobs collector` as a process."""

import signal
import socket
from pathlib import Path

import httpx
import pytest

from durable_jobs.tracking.collector import CollectorSettings, collecting
from tests.support import Python, eventually

from .support import COMMAND, address, event


async def test_what_it_accepted_survives_a_kill(tmp_path: Path) -> None:
    command = (*COMMAND, "--db", str(tmp_path / "events.db"), "--port", "0")
    for start in range(3):
        with Python(*command) as process:
            url = await address(process)
            async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
                events = [event(start * 100 + n) for n in range(1, 101)]
                answer = await http.post("/events", json={"events": events})
                assert answer.json()["accepted"] == 100
                await process.killed()
    with Python(*command) as process:
        url = await address(process)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.get("/api/summary")).json()["events"] == 300
            assert (await http.get("/api/gaps")).json()["total"] == 0
        process.signal(signal.SIGTERM)
        assert await process.exit_code() == 0


async def test_its_settings_come_from_the_environment_too(tmp_path: Path) -> None:
    settings = {
        "DB": str(tmp_path / "events.db"),
        "PORT": "0",
        "TOKEN": "secret-token",
        "RETENTION": "30d",
        "TEMPORAL_UI": "http://ui.example/namespaces/shop",
        "NAMES": "jobs.example.com, collector",
    }
    environment = {f"DURABLE_JOBS_COLLECTOR_{name}": value for name, value in settings.items()}
    with Python(*COMMAND, **environment) as process:
        url = await address(process)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.post("/events", json={"events": []})).status_code == 401
            summary = (await http.get("/api/summary")).json()
            for host in ("jobs.example.com", "collector:4000"):
                assert (await http.get("/", headers={"Host": host})).status_code == 200
            assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert summary["workflowsUrl"] == "http://ui.example/namespaces/shop/workflows/"
        assert "secret-token" not in process.text


async def test_it_answers_from_the_moment_its_address_is_given(tmp_path: Path) -> None:
    async with collecting(CollectorSettings(tmp_path / "events.db")) as address:
        # Nothing else of this process has run since.
        port = int(address.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            assert connection.getpeername() == ("127.0.0.1", port)


async def test_a_port_that_is_taken_is_told_before_anything_is_served(tmp_path: Path) -> None:
    async with collecting(CollectorSettings(tmp_path / "one.db")) as address:
        with pytest.raises(OSError, match="in use"):
            async with collecting(
                CollectorSettings(tmp_path / "other.db"), port=int(address.rpartition(":")[2])
            ):
                pass


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--retention", "soon", "such as 24h or 7d"),
        ("--secret", "hush", "whsec_"),
        ("--secret", "", "the secret is empty"),
        ("--token", "", "the token is empty"),
        ("--token", " ", "the token is empty"),
        ("--port", "70000", "70000 must be from 0 to 65535"),
        ("--port", "-1", "-1 must be from 0 to 65535"),
        ("--temporal-ui", "javascript:alert(1)", "http(s)"),
    ],
)
async def test_a_wrong_setting_ends_it_with_code_2_and_a_reason(
    tmp_path: Path, option: str, value: str, words: str
) -> None:
    with Python(*COMMAND, "--db", str(tmp_path / "events.db"), "--port", "0", option, value) as end:
        assert await end.exit_code() == 2
        await eventually(lambda: words in end.text)
        assert len(end.output) == 1


@pytest.mark.parametrize("name", ["token", "secret"])
async def test_an_empty_variable_does_not_let_everybody_send(tmp_path: Path, name: str) -> None:
    environment = {f"DURABLE_JOBS_COLLECTOR_{name.upper()}": ""}
    options = ("--db", str(tmp_path / "events.db"), "--port", "0")
    with Python(*COMMAND, *options, **environment) as end:
        assert await end.exit_code() == 2
        await eventually(lambda: f"the {name} is empty" in end.text)
        assert len(end.output) == 1


async def test_an_option_has_its_say_before_an_empty_variable(tmp_path: Path) -> None:
    options = ("--db", str(tmp_path / "events.db"), "--port", "0", "--token", "secret-token")
    with Python(*COMMAND, *options, DURABLE_JOBS_COLLECTOR_TOKEN="") as process:
        url = await address(process)
        async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.post("/events", json={"events": []})).status_code == 401
