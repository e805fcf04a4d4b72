"""`POST /api/acknowledge`: what is missing now is known to be, and no longer reported."""

import json
from functools import partial
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answers import answer
from .auth import Guard
from .body import says_json, small_body
from .intake import Malformed
from .sequences import acknowledge
from .store import Store

_STEP = 200  # executions in one transaction, between which intake gets its turn
_MOST_BYTES = 10_000


class Acknowledging:
    """A collector that is new sees the end of what began before it; people say that they know.

    It changes what is shown, and no event: one that comes after all is kept.
    """

    def __init__(self, store: Store, guard: Guard) -> None:
        self._store, self._guard = store, guard

    @property
    def routes(self) -> list[Any]:
        """What starlette is to route here."""
        return [Route("/api/acknowledge", self._take, methods=["POST"])]

    async def _take(self, request: Request) -> Response:
        if problem := self._guard.token_problem(request.headers):
            return answer({"error": problem}, 401, {"WWW-Authenticate": "Bearer"})
        if not says_json(request.headers):
            return answer({"error": "the Content-Type must be application/json"}, 415)
        execution = _execution(await small_body(request, _MOST_BYTES))
        missing: list[int] = []
        while True:
            step = partial(acknowledge, execution=execution, most=_STEP)
            missing += (found := await self._store.change(step))
            if len(found) < _STEP:
                return answer({"executions": len(missing), "acknowledged": sum(missing)})


def _execution(body: bytes) -> str | None:
    """Whose missing events are meant; None: those of all."""
    wrong = Malformed('expected is {} for all that is missing, or {"executionId": "…"}')
    try:
        given: Any = json.loads(body)
    except (ValueError, RecursionError):
        raise wrong from None
    if not isinstance(given, dict) or not cast("dict[str, Any]", given).keys() <= {"executionId"}:
        raise wrong
    execution: Any = cast("dict[str, Any]", given).get("executionId")
    if execution is not None and not isinstance(execution, str):
        raise wrong
    return execution
