"""Any payload becomes a small delivery, any number of them a small digest."""

import json

import pytest

from examples.github.demo.replay import load
from examples.github.digest import Digest
from examples.github.events import Delivery, Payload, read_delivery
from tests.examples.github_support import NOW, delivery


def read(payload: Payload, event: str = "issues") -> Delivery:
    """Read a payload."""
    return read_delivery("d-1", event, payload, NOW)


def test_all_recorded_deliveries_become_small() -> None:
    sizes = [len(sending.read().model_dump_json()) for sending in load()]
    assert len(sizes) == 100
    assert max(sizes) < 1000


def test_a_delivery_survives_json() -> None:
    for sending in load():
        before = sending.read()
        assert Delivery.model_validate_json(before.model_dump_json()) == before


@pytest.mark.parametrize("shape", [None, 7, "text", [], [{}], {}, {"number": "x"}, True])
def test_a_payload_of_any_shape_is_read(shape: object) -> None:
    names = ("action", "repository", "sender", "issue", "pull_request", "comment", "release")
    others = ("check_run", "workflow_job", "commits", "ref", "organization", "installation")
    for event in ("issues", "push", "check_run", "status", "starship"):
        taken = read(dict.fromkeys((*names, *others, event), shape), event)
        assert (taken.key, taken.thread) == ("-", None)


def test_long_texts_are_clipped_and_half_characters_replaced() -> None:
    title = json.loads('"\\ud800' + "x" * 100_000 + '"')
    taken = read({"issue": {"title": title, "number": 7}, "ref": title, "action": title})
    assert len(taken.model_dump_json().encode()) < 4000
    assert taken.title
    assert taken.title.startswith("\ufffdx")


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ({"repository": {"full_name": "octocat/hello"}, "organization": {"login": "o"}},) * 1
        + ("octocat/hello",),
        ({"organization": {"login": "octo-org"}}, "org:octo-org"),
        ({"installation": {"account": {"login": "octocat"}}}, "org:octocat"),
        ({"repository": {"full_name": "not a repository"}}, "-"),
        ({"repository": {"full_name": f"{'x' * 200}/hello"}}, "-"),
        ({}, "-"),
    ],
)
def test_a_delivery_belongs_to_its_repository_else_its_organisation_else_to_none(
    payload: Payload, key: str
) -> None:
    assert read(payload).key == key


def test_a_link_that_is_no_web_address_is_left_out() -> None:
    taken = read({"issue": {"html_url": "javascript:alert(1)", "number": 7}})
    assert taken.url is None


@pytest.mark.parametrize(
    ("event", "payload", "ended"),
    [
        ("issues", {"action": "closed", "issue": {"state": "closed"}}, "closed"),
        ("issues", {"action": "deleted", "issue": {"state": "open"}}, "deleted"),
        ("issues", {"action": "reopened", "issue": {"state": "open"}}, None),
        ("issue_comment", {"action": "deleted", "issue": {"state": "open"}}, None),
        ("issue_comment", {"action": "created", "issue": {"state": "closed"}}, "closed"),
        ("pull_request", {"action": "closed", "pull_request": {"merged": True}}, "merged"),
        ("pull_request", {"action": "closed", "pull_request": {"merged": False}}, "closed"),
    ],
)
def test_the_end_of_a_thread_is_recognised(event: str, payload: Payload, ended: str | None) -> None:
    assert read(payload, event).ended == ended


@pytest.mark.parametrize(
    ("event", "payload", "name", "conclusion"),
    [
        ("check_run", {"check_run": {"name": "lint", "conclusion": "failure"}}, "lint", "failure"),
        (
            "workflow_job",
            {
                "workflow_job": {
                    "name": "unit",
                    "workflow_name": "CI",
                    "head_branch": "main",
                    "conclusion": "success",
                }
            },
            "CI / unit on main",
            "success",
        ),
        ("status", {"context": "ci/circle", "state": "error"}, "ci/circle", "error"),
    ],
)
def test_outcomes_of_checks_are_taken(
    event: str, payload: Payload, name: str, conclusion: str
) -> None:
    check = read(payload, event).check
    assert check
    assert (check.name, check.conclusion) == (name, conclusion)


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("check_run", {"check_run": {"name": "lint", "conclusion": None}}),
        ("status", {"context": "ci/circle", "state": "pending"}),
        ("issues", {"check_run": {"name": "lint", "conclusion": "failure"}}),
    ],
)
def test_a_check_without_an_outcome_is_none(event: str, payload: Payload) -> None:
    assert read(payload, event).check is None


def test_a_digest_reads_like_one() -> None:
    digest = Digest()
    for number in range(3):
        digest = digest.plus(delivery(number, sender=f"user{number % 2}"))
    digest = digest.plus(
        delivery(4, event="push", action=None, ref="main", commits=2, comment=False, sender="hub")
    )
    assert digest.headline == "4 deliveries by user0, user1, hub, 2 commits pushed"
    assert digest.lines == ("issue comment: 3 created", "push: 1", "main: 2 commits in 1 push")


def test_notable_things_and_failing_checks_stand_out_once() -> None:
    opened = delivery(event="issues", action="opened", comment=False)
    failed = read({"check_run": {"name": "lint", "conclusion": "failure"}}, "check_run")
    digest = Digest().plus(opened).plus(opened).plus(failed)
    assert [(h.what, h.title) for h in digest.highlights] == [
        ("issue opened #7", "Spelling"),
        ("failing", "lint"),
    ]


def test_a_digest_of_very_many_deliveries_stays_small() -> None:
    digest = Digest()
    for number in range(4000):
        digest = digest.plus(
            delivery(
                number,
                id=f"{number:036d}",
                event="push",
                action=f"action-{number}",
                sender=f"user{number}",
                ref=f"{number}{'x' * 100}",
            )
        )
    assert digest.count == 4000
    assert sum(digest.events.values()) == sum(digest.people.values()) == 4000
    assert len(digest.model_dump_json()) < 300_000
