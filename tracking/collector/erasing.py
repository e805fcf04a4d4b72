"""`POST /api/erase`: instances are deleted for good, and a proof of it is kept."""

import asyncio
import json
from functools import partial
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_jobs.wire import as_unicode

from . import erasures
from .answers import answer
from .auth import Guard
from .body import says_json, small_body
from .intake import Malformed
from .store import Store

_MOST = 1000  # instances at once: the file is written anew once for all of them
_MOST_BYTES = 1_000_000


class Erasing:
    """What erases, for whoever has the token for it. One request at a time."""

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store, self._guard = store, guard
        self._turn = asyncio.Lock()

    @property
    def routes(self) -> list[Any]:
        """What starlette is to route here."""
        return [Route("/api/erase", self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        if not self._guard.may_erase:
            why = "nobody may erase here; start the collector with --erase-token"
            return answer({"error": why}, 403)
        if problem := self._guard.erase_problem(request.headers):
            return answer({"error": problem}, 401, {"WWW-Authenticate": "Bearer"})
        if not says_json(request.headers):
            return answer({"error": "the Content-Type must be application/json"}, 415)
        instances = _instances(await small_body(request, _MOST_BYTES))
        # Who goes away does not stop what was begun.
        proofs = await asyncio.shield(asyncio.create_task(self._erase(instances)))
        return answer({"erasures": proofs})

    async def _erase(self, instances: list[str]) -> list[dict[str, Any]]:
        async with self._turn:
            numbers = [await self._delete(instance) for instance in instances]
            await self._store.apart(erasures.rewrite)
            return await self._store.change(partial(erasures.finish, numbers=numbers))

    async def _delete(self, instance: str) -> int:
        executions = await self._store.read(partial(erasures.executions_of, instance=instance))
        begin = partial(erasures.begin, instance=instance, executions=executions)
        number = await self._store.change(begin)
        step = partial(erasures.step, instance=instance, number=number)
        while await self._store.change(step):
            continue
        return number


def _instances(body: bytes) -> list[str]:
    wrong = Malformed(f'expected is {{"instanceIds": ["…"]}}, with 1 to {_MOST} of them')
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(given, dict) or cast("dict[str, Any]", given).keys() != {"instanceIds"}:
        raise wrong
    named: Any = cast("dict[str, Any]", given)["instanceIds"]
    if not isinstance(named, list) or not 1 <= len(cast("list[Any]", named)) <= _MOST:
        raise wrong
    return list(dict.fromkeys(map(_instance, cast("list[Any]", named))))


def _instance(named: object) -> str:
    # A lone surrogate is JSON, but no text of which an instance could be kept.
    if not isinstance(named, str) or as_unicode(named) != named or not 0 < len(named) <= 1000:
        raise Malformed("each of instanceIds is a text, such as task:triage:alice")
    return named
