"""Counts what the jobs wrote down against what the collector got."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .jobs import Note
from .weather import Books

Event = dict[str, Any]
_POOL = "workerPool:"


@dataclass
class Ran:
    """One run, as its attempts wrote it down."""

    began: int = 0
    done: Note | None = None
    """The note of its last attempt that came to its end."""


@dataclass
class Report:
    """What the count came to. All but the first four must be empty or zero."""

    events: int = 0
    duplicates: int = 0
    refused: int = 0
    types: Counter[str] = field(default_factory=Counter[str])
    losses: int = 0
    gaps: int = 0
    faults: list[str] = field(default_factory=list[str])

    def expect(self, what: str, counted: object, noted: object) -> None:
        """Both sides must be equal."""
        if counted != noted:
            self.faults.append(f"{what}: {counted} tracked, {noted} by the jobs' own notes")

    def expect_all(self, what: str, tracked: Counter[Any], noted: Counter[Any]) -> None:
        """Both sides must be equal, one by one; what is missing is a loss."""
        missing, surplus = noted - tracked, tracked - noted
        self.losses += missing.total()
        if missing or surplus:
            some, more = list(missing.items())[:5], list(surplus.items())[:5]
            self.faults.append(f"{what}: lost {some}, too many {more}")


def runs_of(notes: Iterable[Note]) -> dict[str, Ran]:
    """The runs by their keys."""
    runs: dict[str, Ran] = defaultdict(Ran)
    for note in notes:
        ran = runs[note.key]
        ran.began += note.step == "began"
        if note.step == "done" and (ran.done is None or ran.done.attempt <= note.attempt):
            ran.done = note
    return dict(runs)


def balance(books: Books, notes: Iterable[Note], added: set[str]) -> Report:
    """The whole account."""
    runs = runs_of(notes)
    done = [ran.done for ran in runs.values() if ran.done is not None]
    report = Report(duplicates=books.duplicates, faults=books.faults[:20])
    if len(done) < len(runs):
        report.faults.append(f"{len(runs) - len(done)} runs never came to their end")
    _executed(report, added, done)
    events = _completeness(report, books)
    _attempts(report, events, done)
    pool = [event for event in events if event["jobType"] == "workerPool"]
    _pool_lives(report, pool, [note for note in done if note.instance.startswith(_POOL)])
    others = [event for event in events if event["jobType"] != "workerPool"]
    _lives(report, others, [note for note in done if not note.instance.startswith(_POOL)])
    return report


def _executed(report: Report, added: set[str], done: list[Note]) -> None:
    executed = {name for note in done for name in note.events}
    if missing := added - executed:
        report.losses += len(missing)
        report.faults.append(f"added and never executed: {sorted(missing)[:10]}")


def _completeness(report: Report, books: Books) -> list[Event]:
    """Every event was delivered or refused, and every execution counts 1, 2, 3, … without a gap."""
    seen = {name: json.loads(text) for name, text in books.texts.items()}
    delivered = {event["eventId"] for event in books.events.values()}
    report.events, report.refused = len(delivered), len(books.refused)
    if wrong := books.refused & delivered:
        report.faults.append(f"refused and delivered too: {sorted(wrong)[:5]}")
    if never := seen.keys() - delivered - books.refused:
        report.losses += len(never)
        report.faults.append(f"tried and never delivered: {[seen[name] for name in never][:5]}")
    sequences: dict[str, list[int]] = defaultdict(list)
    for event in seen.values():
        sequences[event["executionId"]].append(event["sequence"])
    for execution, numbers in sequences.items():
        if sorted(numbers) != list(range(1, len(numbers) + 1)):
            report.gaps += 1
            report.faults.append(f"{execution} has the sequences {sorted(numbers)}")
    report.types = Counter(event["type"] for event in seen.values())
    return list(seen.values())


def _attempts(report: Report, events: list[Event], done: list[Note]) -> None:
    def tracked(kind: str) -> Counter[Any]:
        return Counter(
            (event["instanceId"], event["runCount"], event["attempt"])
            for event in events
            if event["type"] == kind
        )

    executed = Counter((note.instance, note.run, note.attempt) for note in done)
    report.expect_all("job.executed", tracked("job.executed"), executed)
    failed = Counter(
        (note.instance, note.run, attempt) for note in done for attempt in range(1, note.attempt)
    )
    report.expect_all("job.failed", tracked("job.failed"), failed)


def _pool_lives(report: Report, events: list[Event], done: list[Note]) -> None:
    types = Counter(event["type"] for event in events)
    began = {event["instanceId"] for event in events if event["type"] == "job.started"}
    report.expect("lives of the pool that ended", types["job.terminated"], types["job.started"])
    report.expect("instances of the pool", began, {note.instance for note in done})


def _lives(report: Report, events: list[Event], done: list[Note]) -> None:
    windows = [note for note in done if note.instance.startswith("debounce:")]
    first = sum(note.first or (note.run == 1 and ":chaos-tick:" in note.instance) for note in done)
    flushed = [event["eventCount"] for event in events if event["type"] == "debounce.flushed"]
    ends = Counter(event["reason"] for event in events if event["type"] == "job.terminated")
    types = Counter(event["type"] for event in events)
    report.expect("debounce.started", types["debounce.started"], len(windows))
    report.expect("debounce.flushed", types["debounce.flushed"], len(windows))
    report.expect("events flushed", sum(flushed), sum(len(note.events) for note in windows))
    report.expect("task.scheduled", types["task.scheduled"], sum(note.scheduled for note in done))
    report.expect("job.started", types["job.started"], first)
    report.expect("job.terminated", types["job.terminated"], first)
    own = ends.total() - ends["swept"]
    report.expect("ended by themselves", own, sum(note.ends for note in done))
