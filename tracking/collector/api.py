"""The JSON API that the page uses too."""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route, Router

from ..moments import milliseconds
from . import queries
from .answers import answer
from .books import HOUR, MINUTE
from .front import InTurn, Limited
from .queries import Page, Span, Where, WrongQuery
from .settings import CollectorSettings
from .signs import Signs
from .store import Reading, Store
from .stream import News, stream

_DAY = 24 * HOUR
_LONGEST = 200  # characters of a filter
_MOST = 500  # rows, or bars of a plot
_MOST_STREAMS = 50
_AT_ONCE = 8  # answers that are made or sent


class Api:
    """Answers from one store."""

    def __init__(self, store: Store, news: News, settings: CollectorSettings, signs: Signs) -> None:
        self._store, self._news, self._settings, self._signs = store, news, settings, signs
        self._check: asyncio.Task[None] | None = None

    @property
    def routes(self) -> list[Any]:
        """What starlette is to route here."""
        views = {
            "instances": (_instances, "type job state text instance limit cursor"),
            "events": (_events, "instance execution type job since until limit cursor"),
            "gaps": (_gaps, "instance limit cursor"),
            "erasures": (_erasures, "instance limit cursor"),
            "rates": (_rates, "since until step bins job"),
        }
        reading = [
            *(Route(f"/api/{name}", self._view(*view)) for name, view in views.items()),
            Route("/api/summary", self._summary),
        ]
        streams = Limited(_router(Route("/api/stream", self._stream)), _MOST_STREAMS, "streams")
        return [
            Route("/healthz", self._health),
            Route("/api/stream", streams),
            Route("/api/{view:path}", InTurn(_router(*reading), at_once=_AT_ONCE)),
        ]

    def _view(
        self, reading: Callable[[QueryParams], Reading[Any]], parameters: str
    ) -> Callable[..., Any]:
        async def view(request: Request) -> Response:
            _check_names(request.query_params, parameters)
            return answer(await self._store.read(reading(request.query_params)))

        return view

    async def _summary(self, request: Request) -> Response:
        _check_names(request.query_params)
        found = await self._store.read(queries.summary)
        workers = self._signs.summary(found["lastReceivedAt"])
        more = {"workers": workers, "workflowsUrl": self._settings.workflows_url}
        return answer({**found, **more})

    async def _health(self, _: Request) -> Response:
        # Who asks meanwhile gets the same answer: a check stands in line with intake.
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._store.check())
        await asyncio.shield(self._check)
        return answer({"status": "ok"})

    async def _stream(self, request: Request) -> Response:
        _check_names(request.query_params, "after")
        given = request.headers.get("last-event-id") or request.query_params.get("after")
        if given is not None and not (given.isascii() and given.isdigit() and len(given) < 19):
            raise WrongQuery("Last-Event-ID is none that was given here")
        events = stream(self._store, self._news, None if given is None else int(given))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")


def _router(*routes: Any) -> Router:
    router = Router(routes)
    # A reader would not follow.
    router.redirect_slashes = False
    return router


def _check_names(asked: QueryParams, known: str = "") -> None:
    """Raise WrongQuery for an unknown parameter: an answer without it would be another one."""
    for name in asked:
        if name not in known.split():
            names = ", ".join(known.split()) or "none"
            raise WrongQuery(f"{name[:50]!r} is no parameter here; those known are: {names}")


def _instances(asked: QueryParams) -> Reading[Any]:
    where = _filters(asked, {"type": "job_type", "job": "job", "state": queries.state_now()})
    if text := asked.get("text"):
        pattern = text[:_LONGEST].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        where = where.also("instance LIKE ? ESCAPE '\\'", f"%{pattern}%")
    if instance := asked.get("instance"):
        where = where.also("instance = ?", instance)
    return partial(queries.instances, where=where, page=_page(asked))


def _events(asked: QueryParams) -> Reading[Any]:
    where = _filters(asked, {"instance": "instance", "execution": "execution"})
    kinds = _filters(asked, {"type": "type", "job": "job"})
    if where.conditions:
        # Those of one instance are few enough to look at each.
        where, kinds = where.joined(kinds), Where()
    span = Span()
    if since := asked.get("since"):
        span = span.within(Span(since=_moment(since)))
    if until := asked.get("until"):
        span = span.within(Span(until=_moment(until)))
    return partial(queries.events, where=where, kinds=kinds, span=span, page=_page(asked))


def _gaps(asked: QueryParams) -> Reading[Any]:
    return partial(queries.gaps, page=_page(asked), instance=asked.get("instance") or None)


def _erasures(asked: QueryParams) -> Reading[Any]:
    return partial(queries.erasures, page=_page(asked), instance=asked.get("instance") or None)


def _rates(asked: QueryParams) -> Reading[Any]:
    until = _moment(asked["until"]) if "until" in asked else int(time.time() * 1000) + 1
    since = _moment(asked["since"]) if "since" in asked else until - _DAY
    steps = {"minute": MINUTE, "hour": HOUR, "": MINUTE if until - since <= _DAY else HOUR}
    step = steps.get(asked.get("step", ""))
    if step is None:
        raise WrongQuery("step must be minute or hour")
    bins = _number(asked["bins"], "bins", 2, _MOST) if "bins" in asked else None
    return partial(queries.rates, span=(since, until), step=step, bins=bins, job=asked.get("job"))


def _filters(asked: QueryParams, columns: dict[str, str]) -> Where:
    where = Where()
    for name, column in columns.items():
        if value := asked.get(name):
            where = where.also(f"{column} = ?", value)
    return where


def _page(asked: QueryParams) -> Page:
    return Page(_number(asked.get("limit", "100"), "limit", 1, _MOST), asked.get("cursor"))


def _number(text: str, name: str, least: int, most: int) -> int:
    if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= most:
        raise WrongQuery(f"{name} must be a number from {least} to {most}")
    return int(text[:9])


def _moment(text: str) -> int:
    """Milliseconds since 1970, from these or from an ISO time with its zone."""
    if text.isascii() and text.isdigit() and len(text) < 16:
        return int(text)
    wrong = WrongQuery(f"{text[:50]!r} is no time; give milliseconds since 1970 or ISO 8601")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise wrong from error
    if moment.utcoffset() is None:
        raise wrong
    return milliseconds(moment)
