"""Nothing that history can hold ever raises out of a machine: it would fail the task for ever."""

import random
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from durable_jobs.definitions import Job
from durable_jobs.protocol import DeliverResult, Options, Report, RunRequest, RunResult
from durable_jobs.values import JSON, dumps
from durable_jobs.workflows.machines.run import Failed, Lost, Outcome, Succeeded
from durable_jobs.workflows.machines.texts import EventText
from tests.machines.commotion import BRINGS, VERBS
from tests.machines.jobs import SECOND, Careful, Digest, Lettered, Poll, with_options
from tests.support.scripted_worker import ScriptedWorker
from tests.support.simulation import Ends, Simulation

ODD: list[JSON] = [
    None,
    True,
    0,
    -1,
    1,
    7,
    -(10**9),
    10**18,
    10**400,
    1.5,
    -0.0,
    1e300,
    -1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "5",
    "x",
    "z" * 5_000,
    "\u0000",
    "2026-05-04T09:00:00",
    "2026-05-04T09:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999-23:59",
    "1969-12-31T00:00:00Z",
    "9999-12-31T23:59:59.999999Z",
    [],
    [[]],
    [None],
    [{"index": -1, "reason": "no"}],
    [{"index": 10**6, "reason": "no"}],
    {},
    {"data": 1},
    {"every": 0.0},
    {"every": 1e-9},
    {"cron": 5},
]
LONG = timedelta(days=30)
JOBS: dict[str, Job] = {
    "digest": with_options(Digest, quiet_for=2 * SECOND, leading=True, dedupe_for=40 * SECOND),
    "poll": with_options(Poll, catch_up="all"),
    "triage": with_options(Careful, idle_timeout=timedelta(minutes=5), retry=Careful.retry),
    "deliver": with_options(Lettered, on_exhausted="pause"),
}


class Hostile:
    """Changes what is written in history, at any place, to anything."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def changed(self, value: JSON, times: int = 1) -> JSON:
        for _ in range(times):
            value = self._changed(value)
        return value

    def _changed(self, value: JSON) -> JSON:
        places = list(value) if isinstance(value, dict) else range(len(_list(value)))
        if not places or self.random.random() < 0.2:
            return self.random.choice(ODD)
        place = self.random.choice(list(places))
        copy = dict(value) if isinstance(value, dict) else list(value)
        if self.random.random() < 0.15:
            del copy[place]
        elif isinstance(copy, list) and self.random.random() < 0.3:
            copy = copy * self.random.choice([2, 50])
        else:
            copy[place] = self._changed(copy[place])
        return copy

    def outcome(self, outcome: Outcome | None) -> Outcome | None:
        """An outcome, changed, as the driver reads it from history."""
        match outcome:
            case Succeeded(result):
                found = self.read(
                    RunResult, self.changed(_json(result), self.random.choice([1, 2]))
                )
                return Lost("its result cannot be read") if found is None else Succeeded(found)
            case Failed(report):
                read = self.read(Report, self.changed(_json(report), self.random.choice([1, 2])))
                return Lost("its error cannot be read") if read is None else Failed(read)
            case Lost(message, error, heartbeat):
                changed = self.changed(heartbeat)
                return Lost(message, error, changed if isinstance(changed, dict) else None)
            case _:
                return outcome

    def read(self, model: type[Any], value: JSON) -> Any:
        try:
            return model.model_validate_json(dumps(value))
        except ValueError:
            return None


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def _json(model: BaseModel) -> JSON:
    return model.model_dump(mode="json")


class Siege:
    """An instance whose history is changed at random."""

    def __init__(self, job: Job, seed: int) -> None:
        self.hostile = Hostile(seed)
        self.random = self.hostile.random
        self.worker = ScriptedWorker(job, self._word, checkpoint_at=3, detail=self._detail)
        self.sim = Simulation(job, "0", worker=self._make, seed=seed)
        self.sim.asks_answered = False

    def _word(self, request: RunRequest) -> str:
        return self.random.choice(["ok", "ok", "fail", "final", "snooze", "lost", "refuse"])

    def _detail(self, request: RunRequest) -> JSON:
        at = (self.sim.now + self.random.choice([-LONG, SECOND, LONG])).isoformat()
        if self.random.random() < 0.5:
            return {}
        return {"next_at" if request.job_type == "continuous" else "scheduled_at": at}

    def _make(self, request: RunRequest, now: Any) -> Ends:
        made = self.worker(request, now)
        outcome = made.outcome
        if isinstance(outcome, Succeeded) and self.random.random() < 0.3:
            result = outcome.result.model_copy(update={"options": self.sim.options})
            outcome = Succeeded(result)
        return Ends(self.hostile.outcome(outcome) if self.random.random() < 0.7 else outcome)

    def step(self) -> None:
        sim = self.sim
        brings = BRINGS.get(sim.kind.name)
        if sim.finished and brings is None:
            sim.start_again()
        match self.random.randrange(6):
            case 0 | 1 if brings is not None:
                sim.post(brings, EventText.of(self.random.choice([1, 2, 3, *ODD])))
            case 2:
                sim.post(self.random.choice(VERBS[sim.kind.name]))
            case 3:
                sim.carry()
            case 4:
                self._flush()
            case _:
                sim.next_event()
        sim.settle()
        if sim.asked is not None:
            self._answer()
        sim.settle()
        self._look()

    def _answer(self) -> None:
        assert self.sim.call is not None
        call = self.sim.call.call
        answer = self.sim.answer_of(call)
        if self.random.random() < 0.5 and isinstance(answer, BaseModel):
            changed = self.hostile.changed(_json(answer))
            read = self.hostile.read(call.answer, changed)
            answer = "the answer cannot be read" if read is None else read
        self.sim.answer_asked(answer)

    def _flush(self) -> None:
        outbox = self.sim.outbox
        taken = outbox.take()
        result = DeliverResult(execution_id=outbox.execution_id, delivered=len(taken))
        result = result.model_copy(update={"options": self.sim.options})
        read = self.hostile.read(DeliverResult, self.hostile.changed(_json(result)))
        if read is None:
            outbox.release()
            return
        outbox.settle(read)
        self.sim.machine.adopt(read.options, self.sim.now)

    def _look(self) -> None:
        """What a query, a flush and continue-as-new make of it."""
        machine = self.sim.machine
        dumps(machine.status())
        dumps(machine.state_answer())
        assert machine.story()
        dumps(machine.outbox.take())
        machine.outbox.release()


@pytest.mark.parametrize("name", JOBS)
def test_no_history_fails_a_machine(name: str) -> None:
    for seed in range(150):
        siege = Siege(JOBS[name], seed)
        for _ in range(60):
            siege.step()


@pytest.mark.parametrize("name", JOBS)
def test_options_of_a_client_are_used_as_a_whole_or_not_at_all(name: str) -> None:
    job = JOBS[name]
    plain = _json(job.options())
    taken = refused = 0
    for seed in range(1_500):
        hostile = Hostile(seed)
        given = hostile.read(Options, hostile.changed(plain))
        if given is None:
            refused += 1
            continue
        sim = Simulation(job, "0", worker=ScriptedWorker(job), seed=seed)
        try:
            sim.machine.suggest(given)
        except ValidationError:
            refused += 1
            assert sim.machine.options is None
        else:
            taken += 1
        if sim.kind.name in BRINGS:
            sim.send(BRINGS[sim.kind.name], 1)
        for _ in range(4):
            sim.next_event()
        sim.send("terminate")
    assert taken > 100
    assert refused > 100
