"""The mailbox: letters in order, in slices, with what takes effect at once ahead."""

import random
from datetime import UTC, datetime

import pytest
from temporalio.common import RawValue

from durable_jobs.wire import to_raw
from durable_jobs.workflows import mailbox as module
from durable_jobs.workflows.mailbox import Letter, Mailbox

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def _letter(name: str, args: tuple[RawValue, ...] = ()) -> Letter:
    return Letter(name, NOW, args)


def _slice(mailbox: Mailbox, events: int = 1) -> list[str]:
    taken: list[str] = []
    for letter in mailbox.take_slice():
        mailbox.weigh(events)
        taken.append(letter.name)
    return taken


def test_pause_and_resume_go_ahead_of_what_waits_in_their_own_order() -> None:
    mailbox = Mailbox()
    for name in ("add", "flush", "pause", "add", "resume", "terminate"):
        mailbox.put(_letter(name))
    assert _slice(mailbox) == ["pause", "resume", "add", "flush", "add", "terminate"]
    assert not mailbox


def test_a_letter_that_is_put_back_is_the_first_again() -> None:
    mailbox = Mailbox()
    mailbox.put(_letter("add"))
    mailbox.put(_letter("flush"))
    first = next(mailbox.take_slice())
    mailbox.put_back(first)
    assert _slice(mailbox) == ["add", "flush"]


def test_a_slice_ends_by_events_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_EVENTS", 10)
    monkeypatch.setattr(module, "SLICE_BYTES", 1_000)
    mailbox = Mailbox()
    for _ in range(20):
        mailbox.put(_letter("add"))
    assert [len(_slice(mailbox, events=4)) for _ in range(3)] == [3, 3, 3]
    for _ in range(9):
        mailbox.put(_letter("big", (to_raw("x" * 400),)))
    assert len(_slice(mailbox)) == 10
    assert len(_slice(mailbox)) <= 4


def test_every_letter_comes_out_once_whatever_the_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLICE_EVENTS", 7)
    chance, mailbox = random.Random(1), Mailbox()
    put: list[str] = []
    taken: list[str] = []
    for number in range(5_000):
        put.append(f"{number}")
        mailbox.put(_letter(f"{number}"))
        if chance.random() < 0.2:
            taken += _slice(mailbox, events=chance.randrange(4))
    while mailbox:
        taken += _slice(mailbox)
    assert taken == put
    assert mailbox.received == len(put)
