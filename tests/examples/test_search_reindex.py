"""The example of a search index: one write for many edits, and the newest version wins."""

from durable_jobs.testing import Simulation
from examples.search_reindex import Document, Index, Reindex, saved


def edit(sim: Simulation, version: int) -> None:
    sim.run(saved(sim.jobs, "doc-1", Document(version=version, title=f"title {version}")))


def flushes(sim: Simulation) -> list[tuple[int, str]]:
    """The events and the reason of each window that has ended."""
    return [
        (event["eventCount"], event["flushReason"])
        for event in sim.events
        if event["type"] == "debounce.flushed"
    ]


def test_a_burst_of_edits_is_one_write_of_the_newest_version() -> None:
    index = Index()
    sim = Simulation(Reindex(index.put))
    for version in (1, 3, 2):
        edit(sim, version)
        sim.advance("1s")
    assert index.documents == {}
    sim.advance("1s")
    assert index.documents["doc-1"].version == 3
    assert flushes(sim) == [(3, "quiet")]


def test_an_editor_who_never_stops_is_indexed_every_ten_seconds() -> None:
    index = Index()
    sim = Simulation(Reindex(index.put))
    for version in range(1, 11):
        edit(sim, version)
        sim.advance("1s")
    assert index.documents["doc-1"].version == 10
    assert flushes(sim) == [(10, "timeout")]


def test_an_edit_that_comes_after_a_newer_one_was_indexed_changes_nothing() -> None:
    index = Index()
    sim = Simulation(Reindex(index.put))
    for version in (2, 1):
        edit(sim, version)
        sim.advance("2s")
    assert len(flushes(sim)) == 2
    assert index.documents["doc-1"].title == "title 2"
