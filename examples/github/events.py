"""What is taken out of a GitHub delivery: few and short fields, whatever its type and shape.

Payloads of known types grow new fields, and new types appear; so nothing is required of a payload,
a field of another shape than expected counts as missing, and every text is clipped.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict

ThreadKind = Literal["issue", "pull request"]
Payload = Mapping[str, object]

_REPOSITORY = re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII)
_LOGIN = re.compile(r"[\w.\[\]-]{1,100}", re.ASCII)
_SURROGATES = re.compile("[\ud800-\udfff]")

_TITLES = (
    ("issue", "title"),
    ("pull_request", "title"),
    ("discussion", "title"),
    ("release", "name"),
    ("release", "tag_name"),
    ("check_run", "name"),
    ("workflow_job", "name"),
    ("workflow_run", "display_title"),
    ("workflow_run", "name"),
    ("head_commit", "message"),
    ("label", "name"),
    ("milestone", "title"),
    ("forkee", "full_name"),
    ("alert", "rule", "description"),
    ("zen",),
)
_URLS = (
    ("comment", "html_url"),
    ("review", "html_url"),
    ("issue", "html_url"),
    ("pull_request", "html_url"),
    ("discussion", "html_url"),
    ("release", "html_url"),
    ("check_run", "html_url"),
    ("workflow_job", "html_url"),
    ("workflow_run", "html_url"),
    ("alert", "html_url"),
    ("compare",),
    ("forkee", "html_url"),
    ("target_url",),
    ("repository", "html_url"),
)
_OWNERS = (("organization", "login"), ("installation", "account", "login"))
_COMMENTS = {
    "issue_comment": "created",
    "pull_request_review": "submitted",
    "pull_request_review_comment": "created",
}
_ENDS = ("closed", "deleted", "transferred")


class Check(BaseModel):
    """The outcome of a check, a workflow or a commit status, the latest of its name."""

    model_config = ConfigDict(frozen=True)

    name: str
    conclusion: str
    url: str | None = None


class Delivery(BaseModel):
    """One webhook delivery, reduced to what the jobs need: about 1 KB, never more than 4 KB."""

    model_config = ConfigDict(frozen=True)

    id: str
    event: str
    at: datetime
    """When it was received; payloads have no time that all types share."""
    key: str
    """What the digest is about: the repository, else `org:<login>`, else `-`."""
    action: str | None = None
    repository: str | None = None
    sender: str | None = None
    title: str | None = None
    url: str | None = None
    ref: str | None = None
    commits: int = 0
    check: Check | None = None
    kind: ThreadKind | None = None
    number: int | None = None
    comment: bool = False
    """Whether somebody said something in the thread."""
    ended: str | None = None
    """Why the thread is over, where it is: `closed`, `merged`, `deleted` or `transferred`."""

    @property
    def thread(self) -> str | None:
        """The key of the issue or pull request this belongs to, such as `octocat/hello#7`."""
        return f"{self.repository}#{self.number}" if self.repository and self.number else None


def read_delivery(delivery_id: str, event: str, payload: Payload, at: datetime) -> Delivery:
    """Take out of any payload what the jobs need."""
    repository = _matching(_at(payload, "repository", "full_name"), _REPOSITORY)
    kind = _thread_kind(payload)
    return Delivery(
        id=delivery_id,
        event=event,
        at=at,
        key=repository or _owner_key(payload),
        action=_text(payload.get("action"), 60),
        repository=repository,
        sender=_matching(_at(payload, "sender", "login"), _LOGIN),
        title=_first_text(payload, _TITLES),
        url=_first_url(payload),
        ref=_ref(payload),
        commits=_commits(payload),
        check=_check(event, payload),
        kind=kind,
        number=_number(payload) if kind else None,
        comment=event in _COMMENTS and payload.get("action") == _COMMENTS[event],
        ended=_ended(event, payload),
    )


def _at(payload: Payload, *path: str) -> object:
    value: object = payload
    for name in path:
        value = _field(value, name)
    return value


def _field(value: object, name: str) -> object:
    return cast("Payload", value).get(name) if isinstance(value, Mapping) else None


def _text(value: object, limit: int = 160) -> str | None:
    """Give the first line, clipped; JSON can hold halves of characters that nothing can store."""
    if not isinstance(value, str) or not (lines := value[:2000].strip().splitlines()):
        return None
    line = _SURROGATES.sub("\ufffd", lines[0].strip())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _matching(value: object, pattern: re.Pattern[str]) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _first_text(payload: Payload, paths: tuple[tuple[str, ...], ...]) -> str | None:
    return next((text for path in paths if (text := _text(_at(payload, *path)))), None)


def _first_url(payload: Payload) -> str | None:
    return next((url for path in _URLS if (url := web_address(_at(payload, *path)))), None)


def web_address(value: object) -> str | None:
    """Give a value that is safe to link to, else None."""
    safe = (
        isinstance(value, str) and len(value) <= 500 and value.startswith(("https://", "http://"))
    )
    return _SURROGATES.sub("", value) if isinstance(value, str) and safe else None


def _owner_key(payload: Payload) -> str:
    # A colon cannot be part of a repository's name: an organisation's key is never a repository's.
    owner = next((o for path in _OWNERS if (o := _matching(_at(payload, *path), _LOGIN))), None)
    return f"org:{owner}" if owner else "-"


def _ref(payload: Payload) -> str | None:
    ref = _text(payload.get("ref"))
    return ref.removeprefix("refs/heads/").removeprefix("refs/") if ref else None


def _commits(payload: Payload) -> int:
    commits = payload.get("commits")
    return len(cast("list[object]", commits)) if isinstance(commits, list) else 0


def _thread_kind(payload: Payload) -> ThreadKind | None:
    if isinstance(payload.get("pull_request"), Mapping):
        return "pull request"
    if isinstance(payload.get("issue"), Mapping):
        return "pull request" if _at(payload, "issue", "pull_request") else "issue"
    return None


def _number(payload: Payload) -> int | None:
    thing = "pull_request" if isinstance(payload.get("pull_request"), Mapping) else "issue"
    number = _at(payload, thing, "number")
    fits = isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**31
    return number if isinstance(number, int) and fits else None


def _ended(event: str, payload: Payload) -> str | None:
    action = payload.get("action")
    if event in ("issues", "pull_request") and action in _ENDS:
        merged = _at(payload, "pull_request", "merged") is True
        return "merged" if merged and action == "closed" else str(action)
    states = (_at(payload, "issue", "state"), _at(payload, "pull_request", "state"))
    return "closed" if "closed" in states else None


def _check(event: str, payload: Payload) -> Check | None:
    match event:
        case "check_run":
            parts, branch = [("check_run", "name")], ("check_run", "check_suite", "head_branch")
        case "workflow_job":
            parts = [("workflow_job", "workflow_name"), ("workflow_job", "name")]
            branch = ("workflow_job", "head_branch")
        case "workflow_run":
            parts, branch = [("workflow_run", "name")], ("workflow_run", "head_branch")
        case "status":
            return _named_check(payload, [("context",)], (), payload.get("state"))
        case _:
            return None
    return _named_check(payload, parts, branch, _at(payload, event, "conclusion"))


def _named_check(
    payload: Payload, parts: list[tuple[str, ...]], branch: tuple[str, ...], conclusion: object
) -> Check | None:
    names = [name for path in parts if (name := _text(_at(payload, *path), 80))]
    outcome = _text(conclusion, 40)
    if not names or outcome is None or outcome == "pending":
        return None
    on = _text(_at(payload, *branch), 80) if branch else None
    name = " / ".join(names) + (f" on {on}" if on else "")
    return Check(name=name, conclusion=outcome, url=_first_url(payload))
