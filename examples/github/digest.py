"""A digest: what many deliveries come to, bounded in size however many they are."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from pydantic import BaseModel, ConfigDict

from .events import Check, Delivery

FAILING = frozenset({"failure", "timed_out", "startup_failure", "action_required", "error"})

_NOTABLE = frozenset(
    {
        "discussion created",
        "fork",
        "issues deleted",
        "issues opened",
        "issues closed",
        "issues reopened",
        "issues transferred",
        "pull_request closed",
        "pull_request opened",
        "pull_request reopened",
        "release published",
        "repository renamed",
    }
)
_MAX_NAMES = 100
_MAX_HIGHLIGHTS = 15
_MAX_IDS = 3000
_OTHERS = "others"


class Highlight(BaseModel):
    """Something worth a line of its own."""

    model_config = ConfigDict(frozen=True)

    what: str
    title: str
    url: str | None = None


class Pushes(BaseModel):
    """What was pushed to one branch or tag."""

    model_config = ConfigDict(frozen=True)

    pushes: int = 0
    commits: int = 0


class Digest(BaseModel):
    """The state of a window: deliveries folded together."""

    model_config = ConfigDict(frozen=True)

    count: int = 0
    first_at: datetime | None = None
    last_at: datetime | None = None
    events: dict[str, int] = {}
    """Deliveries by event and action, such as `issues opened`."""
    people: dict[str, int] = {}
    pushes: dict[str, Pushes] = {}
    highlights: tuple[Highlight, ...] = ()
    checks: dict[str, Check] = {}
    """The latest outcome of each check."""
    ids: tuple[str, ...] = ()
    """The deliveries' ids, the first 3,000 of them."""

    def plus(self, delivery: Delivery) -> "Digest":
        """Give the digest with one more delivery in it."""
        changes: dict[str, object] = {
            "count": self.count + 1,
            "first_at": min(self.first_at or delivery.at, delivery.at),
            "last_at": max(self.last_at or delivery.at, delivery.at),
            "events": _counted(self.events, label(delivery)),
            "ids": (*self.ids, delivery.id)[:_MAX_IDS],
        }
        if delivery.sender:
            changes["people"] = _counted(self.people, delivery.sender)
        if delivery.event == "push":
            changes["pushes"] = _with_push(self.pushes, delivery)
        if check := delivery.check:
            changes["checks"] = _with_check(self.checks, check)
        if (found := _highlight(delivery)) and found not in self.highlights:
            changes["highlights"] = (*self.highlights, found)[:_MAX_HIGHLIGHTS]
        return self.model_copy(update=changes)

    @property
    def headline(self) -> str:
        """One sentence."""
        commits = sum(p.commits for p in self.pushes.values())
        said = plural(self.count, "delivery", "deliveries")
        if self.people:
            said += f" by {_names(self.people)}"
        return f"{said}, {plural(commits, 'commit')} pushed" if commits else said

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per event type, the busiest first, and one per branch pushed to."""
        pushed = [f"{ref}: {_pushed(pushes)}" for ref, pushes in self.pushes.items()]
        return (*_by_event(self.events), *pushed)


def label(delivery: Delivery) -> str:
    """Name what happened, such as `issues opened` or `push`."""
    return f"{delivery.event} {delivery.action}" if delivery.action else delivery.event


def plural(count: int, one: str, many: str | None = None) -> str:
    """Give a count with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _counted(counts: Mapping[str, int], name: str) -> dict[str, int]:
    name = name if name in counts or len(counts) < _MAX_NAMES else _OTHERS
    return {**counts, name: counts.get(name, 0) + 1}


def _with_check(checks: dict[str, Check], check: Check) -> dict[str, Check]:
    known = check.name in checks or len(checks) < _MAX_NAMES
    return {**checks, check.name: check} if known else checks


def _with_push(pushes: Mapping[str, Pushes], delivery: Delivery) -> dict[str, Pushes]:
    ref = delivery.ref or "?"
    ref = ref if ref in pushes or len(pushes) < _MAX_NAMES else _OTHERS
    known = pushes.get(ref, Pushes())
    return {
        **pushes,
        ref: Pushes(pushes=known.pushes + 1, commits=known.commits + delivery.commits),
    }


def _pushed(pushes: Pushes) -> str:
    said = plural(pushes.pushes, "push", "pushes")
    return f"{plural(pushes.commits, 'commit')} in {said}" if pushes.commits else said


def _highlight(delivery: Delivery) -> Highlight | None:
    what = label(delivery)
    if delivery.check and delivery.check.conclusion in FAILING:
        return Highlight(what="failing", title=delivery.check.name, url=delivery.check.url)
    if what not in _NOTABLE or not delivery.title:
        return None
    number = f" #{delivery.number}" if delivery.number else ""
    return Highlight(what=_spoken(what) + number, title=delivery.title, url=delivery.url)


def _spoken(what: str) -> str:
    return what.replace("issues ", "issue ").replace("_", " ")


def _names(people: Mapping[str, int], shown: int = 3) -> str:
    busiest = [name for name, _ in Counter(people).most_common()]
    names, rest = busiest[:shown], len(busiest) - shown
    return ", ".join(names) + (f" and {plural(rest, 'other')}" if rest > 0 else "")


def _by_event(counts: Mapping[str, int]) -> Iterable[str]:
    groups: dict[str, Counter[str]] = {}
    for name, count in counts.items():
        event, _, action = name.partition(" ")
        groups.setdefault(event, Counter())[action] += count
    for event, actions in sorted(groups.items(), key=lambda item: -item[1].total()):
        parts = [f"{n} {action.replace('_', ' ')}".strip() for action, n in actions.most_common()]
        yield f"{event.replace('_', ' ')}: {', '.join(parts)}"
