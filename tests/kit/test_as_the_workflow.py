"""A simulation decides as the real workflows do, in random scripts.

Both have the same clock, the same client and the same handlers. More of them:

    make twins ARGS=10000
"""

import os
import re
from datetime import datetime
from typing import Any

import pytest
from pydantic import BaseModel

from durable_jobs.testing import simulation
from durable_jobs.testing.simulation import Simulation
from durable_jobs.testing.world import World
from durable_jobs.workflows import carry
from tests.kit.scripts import Script
from tests.support.real_workflow import RealExecution

SCRIPTS = int(os.environ.get("DURABLE_JOBS_TWIN_SCRIPTS", "120"))
CALLS = 12
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def played(seed: int) -> list[Any]:
    """What came of a script, call by call, and all that was told at the end."""
    script = Script(seed)
    with Simulation(script.jobs()) as sim:
        handle = script.handle(sim.jobs)
        found = [_called(sim, script, handle) for _ in range(CALLS)]
        sim.advance("10m")
        found.append(_status(sim, handle))
        return alike([*found, _ran(sim), _told(sim)], {})


def _called(sim: Simulation, script: Script, handle: Any) -> Any:
    verb, call = script.call(handle)
    try:
        answer: Any = sim.run(call)
    except Exception as error:
        answer = repr(error)
    before = sim.now
    sim.advance(script.span())
    return verb, answer, before, _status(sim, handle)


def _status(sim: Simulation, handle: Any) -> Any:
    status = sim.run(handle.status())
    hidden: Any = {"tracking": True, "instances": {"__all__": {"tracking"}}}
    return None if status is None else status.model_dump(exclude=hidden)


def _told(sim: Simulation) -> list[Any]:
    """All tracking events: the real workflow keeps some back for company."""
    waiting = [event for each in sim._world._executions.values() for event in _kept_back(each)]
    # One that is cut off by continue-as-new is told again.
    events = {event["eventId"]: event for event in (*sim.events, *waiting)}
    ordered = sorted(events.values(), key=lambda e: (e["executionId"], e["sequence"]))
    return [_plain(event) for event in ordered]


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    took = round(event["durationMs"], -2) if "durationMs" in event else None
    return {**event, "env": None, "serviceKey": None, "durationMs": took}


def _kept_back(execution: Any) -> list[Any]:
    return execution.machine.outbox.take()


def _ran(sim: Simulation) -> list[Any]:
    return [{**vars(ran), "error": repr(ran.error)} for ran in sim.runs]


def alike(value: Any, known: dict[str, int]) -> Any:
    """With numbers for ids, and times to a tenth of a second.

    After continue-as-new other ids are made. A timer of the SDK's may be a microsecond early, and
    the workflow then waits for one more millisecond.
    """
    if isinstance(value, BaseModel):
        return alike(value.model_dump(), known)
    if isinstance(value, dict):
        return {name: alike(each, known) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [alike(each, known) for each in value]
    if isinstance(value, datetime):
        return round(value.timestamp(), 1)
    if isinstance(value, str) and UUID.fullmatch(value):
        return known.setdefault(value, len(known))
    if isinstance(value, str) and TIME.match(value):
        return alike(datetime.fromisoformat(value), known)
    return value


@pytest.mark.parametrize("part", range(6))
def test_a_simulation_decides_as_the_workflow_does(
    part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(part, SCRIPTS, 6):
        simulated = played(seed)
        with monkeypatch.context() as patch:
            patch.setattr(
                simulation, "World", lambda jobs, start: World(jobs, start, RealExecution)
            )
            if Script(seed).job.job_type != "task":
                # A caller who is told to ask again takes a little longer.
                patch.setattr(carry, "MAX_HISTORY_EVENTS", 150)
            real = played(seed)
        for one, other in zip(simulated, real, strict=True):
            assert one == other, f"script {seed}"
