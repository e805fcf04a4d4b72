"""The store keeps what came of the deliveries; a write made twice leaves what one leaves."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from examples.github.events import Check
from examples.github.records import DigestRecord, HealthRecord, ThreadNote, ThreadRecord
from examples.github.store import Store
from tests.examples.github_support import NOW, delivery

DIGEST = DigestRecord(
    id="run-1",
    key="octocat/hello",
    first_at=NOW,
    last_at=NOW,
    deliveries=2,
    reason="timeout",
    headline="2 deliveries",
    lines=("push: 2",),
    highlights=(),
)
THREAD = ThreadRecord(
    id="octocat/hello#7",
    repository="octocat/hello",
    number=7,
    kind="issue",
    title="Spelling",
    opened_at=NOW,
    active_at=NOW,
)
NOTE = ThreadNote(id="run-2", thread=THREAD.id, what="follow-up", text="no answer", at=NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store on a file in a folder that does not exist yet."""
    with Store(tmp_path / "new" / "github.db") as opened:
        yield opened


def test_a_digest_written_again_stays_one(store: Store) -> None:
    for _ in range(2):
        store.save_digest(DIGEST, ["d-1", "d-2"], [Check(name="lint", conclusion="failure")])
    assert store.digests() == [DIGEST]
    assert store.digest_counts() == {"d-1": 1, "d-2": 1}
    assert len(store.checks("octocat/hello")) == 1


def test_a_delivery_in_two_digests_is_seen(store: Store) -> None:
    for run in ("run-1", "run-2"):
        store.save_digest(DIGEST.model_copy(update={"id": run}), ["d-1"], [])
    assert store.digest_counts() == {"d-1": 2}


def test_the_newest_digest_comes_first(store: Store) -> None:
    later = DIGEST.model_copy(update={"id": "a", "last_at": NOW + timedelta(microseconds=1)})
    store.save_digest(later, [], [])
    store.save_digest(DIGEST, [], [])
    assert store.digests() == [later, DIGEST]
    assert store.last_activity("octocat/hello") == later.last_at
    assert store.last_activity("octocat/other") is None


def test_a_check_is_known_by_its_latest_outcome(store: Store) -> None:
    for conclusion in ("failure", "success"):
        store.save_digest(DIGEST, [], [Check(name="lint", conclusion=conclusion)])
    assert [check.conclusion for check in store.checks("octocat/hello")] == ["success"]


def test_a_thread_and_its_note_written_again_stay_one(store: Store) -> None:
    for _ in range(2):
        store.save_thread(THREAD, NOTE)
    assert store.threads() == [THREAD]
    assert store.notes() == [NOTE]
    assert store.thread_state(THREAD.id) == "open"
    assert store.thread_state("octocat/hello#8") is None


def test_an_ended_thread_is_not_open(store: Store) -> None:
    store.save_thread(THREAD)
    store.save_thread(THREAD.model_copy(update={"state": "closed"}))
    assert store.open_threads("octocat/hello") == []
    assert len(store.threads()) == 1


def test_health_is_replaced_and_forgotten(store: Store) -> None:
    for count in (1, 2):
        store.save_health("octocat/hello", HealthRecord(open=count, checked_at=NOW))
    assert store.health() == {"octocat/hello": HealthRecord(open=2, checked_at=NOW)}
    store.forget_health("octocat/hello")
    assert store.health() == {}


def test_deliveries_are_remembered_until_they_are_old(store: Store) -> None:
    store.record_delivery(delivery(1))
    store.record_delivery(delivery(1))
    store.record_delivery(delivery(2, at=NOW + timedelta(days=1)))
    assert store.seen("d-1")
    store.forget_deliveries(NOW + timedelta(hours=1))
    assert store.delivery_ids() == {"d-2"}


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "github.db"
    with Store(path) as first:
        first.save_thread(THREAD)
    with Store(path) as second:
        assert second.threads() == [THREAD]


def test_a_failed_write_leaves_nothing_half_done(store: Store) -> None:
    with pytest.raises(UnicodeEncodeError):
        store.save_digest(DIGEST, ["d-1", "half a character: \ud800"], [])
    assert (store.digests(), store.digest_counts()) == ([], {})
    store.save_digest(DIGEST, ["d-1"], [])
    assert store.digest_counts() == {"d-1": 1}


def test_many_writers_in_several_connections_take_turns(tmp_path: Path) -> None:
    path = tmp_path / "github.db"
    Store(path).close()

    def write(number: int) -> None:
        with Store(path) as own:
            for index in range(20):
                own.record_delivery(delivery(number * 100 + index))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    with Store(path) as store:
        assert len(store.delivery_ids()) == 80
