"""`durable-jobs events`: a collector's events in the shell."""

import json
from pathlib import Path

import httpx

from durable_jobs.embedded.ports import free_port
from durable_jobs.tracking.collector import CollectorSettings, collecting
from tests.support import Python

from .support import event

EVENTS = ("-m", "durable_jobs.cli", "events")


async def test_it_prints_what_is_kept_and_follows_what_comes(tmp_path: Path) -> None:
    async with (
        collecting(CollectorSettings(tmp_path / "events.db"), port=0) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        old = [event(number) for number in (1, 2, 3)]
        await http.post("/events", json={"events": old})
        command = (*EVENTS, "--follow", "--limit", "2", "--json", "--collector", url)
        with Python(*command) as shown:
            await shown.line(old[2]["eventId"])
            new = event(4)
            await http.post("/events", json={"events": [new]})
            await shown.line(new["eventId"])
            ids = [json.loads(line)["eventId"] for line in shown.output]
        assert ids == [old[1]["eventId"], old[2]["eventId"], new["eventId"]]


async def test_it_prints_those_of_a_choice_alone(tmp_path: Path) -> None:
    async with (
        collecting(CollectorSettings(tmp_path / "events.db"), port=0) as url,
        httpx.AsyncClient(base_url=url, trust_env=False) as http,
    ):
        await http.post("/events", json={"events": [event(1), event(2)]})
        with Python(*EVENTS, event(1)["instanceId"], "--collector", url) as shown:
            assert await shown.exit_code() == 0
            assert len(shown.output) == 2
            assert event(1)["instanceId"] in shown.output[0]
        with Python(*EVENTS, "debounce:no:such", "--collector", url) as shown:
            assert await shown.exit_code() == 0
            assert shown.output == []


async def test_a_collector_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Python(*EVENTS, "--collector", url) as shown:
        assert await shown.exit_code() == 1
        assert f"the collector at {url} does not answer" in shown.text
    with Python(*EVENTS, "--collector", "nonsense") as shown:
        assert await shown.exit_code() == 2
