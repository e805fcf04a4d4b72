"""The page: plain HTML without scripts or anything from elsewhere, every value escaped."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from .digest import plural
from .events import web_address
from .records import DigestRecord, HealthRecord, ThreadNote, ThreadRecord
from .style import STYLE

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Even a value that was not escaped could run nothing."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="15">
<title>GitHub digest</title>
<style>{style}</style>
</head>
<body>
<header><h1>GitHub digest</h1><p>{summary}</p></header>
<main>
<section><h2>Health</h2>{health}</section>
<section><h2>Digests</h2>{digests}</section>
<section><h2>Threads</h2>{threads}</section>
<section><h2>Follow-ups</h2>{notes}</section>
</main>
</body>
</html>
"""


def render(
    *,
    digests: Sequence[DigestRecord],
    health: Mapping[str, HealthRecord],
    threads: Sequence[ThreadRecord],
    notes: Sequence[ThreadNote],
) -> str:
    """Give the whole page."""
    still_open = sum(thread.state == "open" for thread in threads)
    summary = (
        f"{plural(len(health), 'repository', 'repositories')} watched, "
        f"{plural(still_open, 'open thread')}, {plural(len(digests), 'recent digest')}"
    )
    return _PAGE.format(
        style=STYLE,
        summary=escape(summary),
        health=_cards("cards", (_health(key, record) for key, record in health.items())),
        digests=_cards("digests", map(_digest, digests)),
        threads=_threads(threads),
        notes=_cards("notes", map(_note, notes)),
    )


def _cards(kind: str, cards: Iterable[str]) -> str:
    content = "".join(cards)
    return f'<div class="{kind}">{content}</div>' if content else '<p class="none">Nothing yet.</p>'


def _health(key: str, health: HealthRecord) -> str:
    failing = [_link(f"{c.name}: {c.conclusion}", c.url) for c in health.failing]
    stale = [_link(link.title, link.url) for link in health.stale]
    since = f"since {_time(health.since)}" if health.since else ""
    return (
        f'<article><h3>{escape(key)}</h3><p><b class="pill {health.status}">{health.status}</b> '
        f'<small>{since}</small></p><p class="counts">{_count(health.open, "open")}'
        f"{_count(len(failing), 'failing')}{_count(len(stale), 'stale')}</p>"
        f"{_list('Failing', failing)}{_list('Stale', stale)}</article>"
    )


def _count(count: int, what: str) -> str:
    return f"<span><b>{count}</b> {what}</span>"


def _list(title: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    return f"<h4>{title}</h4><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _digest(digest: DigestRecord) -> str:
    lines = [(escape(name), escape(rest)) for name, _, rest in map(_split, digest.lines)]
    notable = [(escape(h.what), _link(h.title, h.url)) for h in digest.highlights]
    return (
        f"<article><h3>{escape(digest.key)}</h3><small>until {_time(digest.last_at)}</small>"
        f"<p>{escape(digest.headline)}</p>{_pairs(lines)}{_notable(notable)}</article>"
    )


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(": ")


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{rest}</dd>' for name, rest in pairs)}</dl>"


def _notable(pairs: Sequence[tuple[str, str]]) -> str:
    return f"<h4>Notable</h4>{_pairs(pairs)}" if pairs else ""


def _threads(threads: Sequence[ThreadRecord]) -> str:
    if not threads:
        return '<p class="none">Nothing yet.</p>'
    heads = ("Thread", "State", "Comments", "Last activity", "Next follow-up")
    head = "".join(f"<th>{title}</th>" for title in heads)
    rows = "".join(map(_thread, threads))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _thread(thread: ThreadRecord) -> str:
    kind = "open" if thread.state == "open" else "ended"
    due = _time(thread.follow_up_at) if thread.follow_up_at else "none"
    return (
        f'<tr><td data-is="Thread">{_link(thread.title, thread.url)}<br>'
        f"<small>{escape(thread.kind)} {escape(thread.id)}</small></td>"
        f'<td data-is="State"><b class="pill {kind}">{escape(thread.state)}</b></td>'
        f'<td data-is="Comments">{thread.comments}</td>'
        f'<td data-is="Last activity">{_time(thread.active_at)}</td>'
        f'<td data-is="Next follow-up">{due}</td></tr>'
    )


def _note(note: ThreadNote) -> str:
    return (
        f'<p>{_time(note.at)} <b class="pill {escape(note.what)}">{escape(note.what)}</b> '
        f"<b>{escape(note.thread)}</b> {escape(note.text)}</p>"
    )


def _link(text: str, url: str | None) -> str:
    if not (safe := web_address(url)):
        return escape(text)
    return f'<a href="{escape(safe)}" rel="noopener noreferrer">{escape(text)}</a>'


def _time(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f'<time datetime="{utc.isoformat()}">{utc:%d %b %Y %H:%M:%S} UTC</time>'
