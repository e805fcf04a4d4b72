"""`durable-jobs events`: tracking events from a collector, as `durable-jobs dev` prints them."""

import json
import sys
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urlencode

import typer

from .lines import colours_wanted, event_line, width_of
from .reach import FAILED, WRONG_INPUT, Trouble

_WAIT: Final = 30.0
"""Seconds. A silent stream says every 15 that it lives."""


@dataclass(frozen=True)
class Wish:
    """Which events, from where."""

    collector: str
    instance: str | None
    type: str | None
    job: str | None
    limit: int
    follow: bool
    as_json: bool

    def takes(self, event: Mapping[str, Any]) -> bool:
        """Whether an event is one of them."""
        wanted = {"instanceId": self.instance, "type": self.type, "jobName": self.job}
        return all(value in (None, event.get(name)) for name, value in wanted.items())


def show_events(wish: Wish) -> None:
    """Print them, the oldest first; raises `Trouble`."""
    if not wish.collector.startswith(("http://", "https://")):
        raise Trouble("--collector is an address such as http://127.0.0.1:4000", WRONG_INPUT)
    try:
        if wish.follow:
            _follow(wish)
        for event in _kept(wish):
            _show(wish, event)
    except (OSError, ValueError) as error:
        raise Trouble(
            f"the collector at {wish.collector} does not answer as one: {error}", FAILED
        ) from error


def _follow(wish: Wish) -> NoReturn:
    with _opened(wish, "stream", {}) as stream:
        # From its first line on the stream misses nothing; what is kept may come by it again.
        stream.readline()
        kept = _kept(wish)
        for event in kept:
            _show(wish, event)
        shown = {event["eventId"] for event in kept}
        for event in events_in(stream):
            if wish.takes(event) and event["eventId"] not in shown:
                _show(wish, event)
    raise Trouble("the collector has ended the stream", FAILED)


def _kept(wish: Wish) -> list[dict[str, Any]]:
    asked = {"instance": wish.instance, "type": wish.type, "job": wish.job, "limit": wish.limit}
    if not wish.limit:
        return []
    given = {name: str(value) for name, value in asked.items() if value is not None}
    with _opened(wish, "events", given) as answer:
        return json.load(answer)["events"][::-1]


def _opened(wish: Wish, view: str, parameters: dict[str, str]) -> Any:
    url = f"{wish.collector.rstrip('/')}/api/{view}"
    return urllib.request.urlopen(f"{url}?{urlencode(parameters)}".rstrip("?"), timeout=_WAIT)


def events_in(stream: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a stream, as its lines bring them."""
    name = ""
    for line in stream:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data" and name == "skipped":
            typer.echo(f"{value} events came too fast and were left out", err=True)
        elif field == "data":
            yield json.loads(value)
        elif not field:
            name = ""


def _show(wish: Wish, event: Mapping[str, Any]) -> None:
    if wish.as_json:
        typer.echo(json.dumps(event, ensure_ascii=False))
    else:
        colours = colours_wanted(sys.stdout)
        line = event_line(event, colours=colours, width=width_of(sys.stdout))
        typer.echo(line, color=colours)
