"""Random callers and random workers for one instance, and what must hold whatever they do."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from durable_jobs.definitions import Job
from durable_jobs.protocol import Detail, RunRequest
from durable_jobs.values import JSON
from durable_jobs.workflows.machines.messages import BadInput
from durable_jobs.workflows.machines.texts import EventText
from durable_jobs.workflows.mailbox import SLICE_EVENTS
from tests.support.scripted_worker import ScriptedWorker
from tests.support.simulation import Posted, Simulation

WORDS = {
    "ok": 40,
    "fail": 12,
    "final": 4,
    "later": 3,
    "snooze": 4,
    "lost": 4,
    "cut": 2,
    "gone": 2,
    "job paused": 3,
    "hold": 12,
    "stop": 4,
    "end": 1,
    "refuse": 3,
}
ACTS = {"bring": 35, "say": 15, "carry": 10, "flush": 5, "answer": 10, "go on": 15, "wait": 20}
BRINGS = {"debounce": "add", "task": "send", "workerPool": "enqueue"}
VERBS = {
    "continuous": ["pause", "resume", "resume", "trigger", "trigger", "terminate"],
    "debounce": ["pause", "resume", "resume", "flush", "flush", "clear", "terminate"],
    "task": ["pause", "resume", "resume", "trigger", "redrive", "redrive", "terminate"],
    "workerPool": [
        *["pause", "resume", "resume", "trigger", "redrive", "redrive"],
        *["clear", "drain", "terminate"],
    ],
}


class Commotion:
    """Plays random steps. Each event is a number of its own, so that every one can be found."""

    def __init__(
        self, job: Job, seed: int, *, words: dict[str, int] | None = None, verbs: bool = True
    ) -> None:
        self.random = random.Random(seed)
        self.words = dict(words or WORDS)
        self.worker = ScriptedWorker(job, self._script)
        self.sim = Simulation(job, "0", worker=self.worker, seed=seed)
        self.sim.mailbox.slice_events = self.random.choice([SLICE_EVENTS, 1, 3])
        self.brings = BRINGS.get(job.job_type)
        self.verbs = VERBS[job.job_type] if verbs else ["pause", "resume", "resume", "trigger"]
        self.number = 0
        self.posted: list[tuple[Posted, list[int], int]] = []
        """Each message that brought events, its events, and how many things that are none."""

        self.carries = True
        self.priorities = 3
        self.names = True
        self.settled = True

    def _script(self, request: RunRequest) -> str:
        word = self._one_of(self.words)
        # What fits at first fits later too; a worker has a handler that it has just run.
        return "ok" if word in ("refuse", "gone") and request.attempt > 1 else word

    def _one_of(self, weights: dict[str, int]) -> str:
        return self.random.choices(list(weights), list(weights.values()))[0]

    # -- steps

    def step(self) -> None:
        """One random step of anyone."""
        if self.sim.finished and not self.brings:
            self.sim.start_again()
        self.sim.letters_first = self.random.random() < 0.5
        self._act(self._one_of(ACTS))
        if self.sim.under_way and self.random.random() < 0.5:
            self._end_attempt()
        self.settled = self.random.random() < 0.7
        if self.settled:
            self.sim.settle()

    def _act(self, act: str) -> None:
        match act:
            case "bring":
                self._bring()
            case "say":
                self.sim.post(self.random.choice(self.verbs))
            case "carry" if self.carries:
                self.sim.carry()
            case "answer":
                self._answer()
            case "flush":
                self.sim.take_tracking()
                self.sim.settle_tracking(lost=self.random.random() < 0.5)
            case "go on":
                self.sim.next_event()
            case _:
                span = self.random.choice([0, 0.5, 3, 20, 100])
                self.sim.advance(timedelta(seconds=span))

    def _answer(self) -> None:
        if self.sim.asked is not None:
            self.sim.answer_asked()
        self.sim.asks_answered = self.random.random() < 0.5

    def _end_attempt(self) -> None:
        request = self.sim.attempts[-1]
        word = self._script(request)
        outcome = self.worker.outcome(request, word, self.sim.now)
        if outcome is not None:
            self.sim.end_attempt(outcome)

    def _bring(self) -> None:
        if self.brings is None:
            return
        events: list[Any] = []
        numbers: list[int] = []
        wrong = 0
        count = self.random.choice([1, 1, 1, 2, 5])
        for _ in range(count):
            if self.random.random() < 0.05:
                events.append(BadInput("it is no event"))
                wrong += 1
                continue
            self.number += 1
            # Of a batch the answer says only whether all of it was known.
            named = self.names and count == 1 and self.random.random() < 0.4
            event_id = f"id-{self.random.randrange(40)}" if named else None
            priority = self.random.randrange(self.priorities)
            events.append(EventText.of(self.number, event_id, priority, _traceparent(self.number)))
            numbers.append(self.number)
        self.posted.append((self.sim.post(self.brings, *events), numbers, wrong))

    def calm(self) -> None:
        """Let everything come to rest: what is under way ends well."""
        self.words = {"ok": 1}
        self.sim.asks_answered = True
        if self.sim.asked is not None:
            self.sim.answer_asked()
        if self.brings is None:
            # It would go on for ever.
            self.sim.post("terminate")
        for _ in range(1_000):
            self.sim.settle()
            if self.sim.under_way:
                self._end_attempt()
            elif not self.sim.next_event():
                return
        raise AssertionError(f"no end in sight: {self.sim.machine.story()}")

    # -- what must hold

    def check_books(self) -> None:
        """Each event that came ran once, waits, was set aside, rejected, dropped or known."""
        if not self.settled:
            # Some outcomes are not taken up yet.
            return
        came, wrong = self._came()
        ran = Counter(flat(self.worker.succeeded))
        assert not [number for number, times in ran.items() if times > 1], "ran twice"
        kept = Counter(self._kept())
        assert not [number for number, times in kept.items() if times > 1], "waits twice"
        assert not ran.keys() & kept.keys(), "ran, and waits"
        assert ran.keys() | kept.keys() <= came
        gone = len(came - ran.keys() - kept.keys())
        settled = self.sim.discarded + self.sim.rejected - wrong + self._known()
        assert gone == settled, (
            f"{gone} events are neither run nor kept; {self.sim.discarded} were discarded, "
            f"{self.sim.rejected} rejected ({wrong} were no event), {self._known()} were known"
        )
        if not self.sim.finished:
            assert self.sim.machine.waiting_events() == len(kept) + self._crowded_out()

    def _came(self) -> tuple[set[int], int]:
        taken = [(numbers, wrong) for posted, numbers, wrong in self.posted if posted.taken]
        came = {number for numbers, _ in taken for number in numbers}
        return came, sum(wrong for _, wrong in taken)

    def _known(self) -> int:
        """Events whose id had come before, as callers were told."""
        found = 0
        for posted, numbers, _ in self.posted:
            if posted.taken and posted.answer is not None:
                found += self._duplicates_in(posted.answer, len(numbers))
        return found

    def _duplicates_in(self, answer: JSON, count: int) -> int:
        if "events" in answer:
            return sum(bool(each.get("duplicate")) for each in answer["events"])
        return count * bool(answer["duplicate"])

    def _crowded_out(self) -> int:
        extra = self.sim.machine.extra()
        return (extra.get("set_aside") or extra.get("dead") or {}).get("crowded_out", 0)

    def _kept(self) -> list[int]:
        return [] if self.sim.finished else list(kept_in(self.sim.machine.extra()))

    def check_tracking(self) -> None:
        """Attempts count up from 1, none follows a last one, and no key is used for two runs."""
        told = [*self.sim.executions, self.sim.told()]
        for events in told:
            check_runs(events)
        self._check_keys()

    def _check_keys(self) -> None:
        runs: dict[str, set[tuple[str, str]]] = {}
        over: set[str] = set()
        for run in self.worker.ran:
            assert run.key not in over, f"the key of a run that is over came again: {run}"
            # Only a flush that succeeds says what it was of.
            value = "" if self.sim.kind.name == "debounce" else str(run.value)
            runs.setdefault(run.key, set()).add((run.handler, value))
            if run.word in ("ok", "end"):
                over.add(run.key)
        assert all(len(found) == 1 for found in runs.values())


def flat(values: list[JSON]) -> Iterator[int]:
    """The numbers in values and in lists of them."""
    for value in values:
        if isinstance(value, list):
            yield from value
        elif value is not None:
            yield value


def kept_in(value: JSON) -> Iterator[int]:
    """The numbers of all events that a snapshot holds."""
    if isinstance(value, list):
        for each in value:
            yield from kept_in(each)
    elif isinstance(value, dict):
        if value.get("has_base"):
            yield from value["base"]
        for name, each in value.items():
            if name == "data":
                yield each
            elif name not in ("base", "report", "replies", "times"):
                yield from kept_in(each)


def check_runs(events: list[Detail]) -> None:
    """What the tracking events of one execution say of attempts adds up."""
    open_run: tuple[int, int] | None = None
    last, ended = 0, False
    for event in events:
        again = event["type"] == "job.terminated" and event["jobType"] != "debounce"
        assert not (ended and again), f"an end was told twice: {event}"
        ended = event["type"] == "job.terminated"
        match event["type"]:
            case "job.terminated":
                open_run, last = None, 0
            case "job.failed" | "job.executed":
                run, attempt = event["runCount"], event["attempt"]
                if open_run is not None and open_run[0] == run:
                    assert attempt == open_run[1] + 1, event
                else:
                    assert run > last, (event, last)
                again = event["type"] == "job.failed" and event["willRetry"]
                open_run, last = ((run, attempt) if again else None), run
            case _:
                pass


def _traceparent(number: int) -> str | None:
    """Some events belong to a trace, which is kept or not."""
    return f"00-{number:032x}-{number:016x}-0{number % 2}" if number % 3 else None
