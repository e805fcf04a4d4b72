"""Polls an API that allows few requests: each page once, and a wait where the API asks for one."""

import time
from datetime import timedelta

import httpx
from pydantic import BaseModel

from durable_jobs import ContinuousJob, ContinuousRun, Every, Snooze


class Cursor(BaseModel):
    """How far an account was read."""

    after: int = 0


class PollOrders(ContinuousJob[Cursor]):
    name = "poll-orders"
    schedule = Every(timedelta(seconds=30))
    keys = ("acct-1",)  # started with the worker
    timeout = timedelta(seconds=20)
    keep_checkpoint_on_exhausted = True  # a run that failed for good loses no page either

    def __init__(self, api: httpx.AsyncClient) -> None:
        self._api = api

    async def execute(self, run: ContinuousRun[Cursor]) -> None:
        while orders := await self._page(run.key, run.state.after):
            print(f"{run.key}: orders {orders[0]} to {orders[-1]}")  # store them by their id
            run.state.after = orders[-1]
            await run.checkpoint()

    async def _page(self, account: str, after: int) -> list[int]:
        answer = await self._api.get(f"/{account}/orders", params={"after": after})
        if answer.status_code == 429:
            wait = timedelta(seconds=float(answer.headers.get("retry-after", "60")))
            print(f"{account}: goes on after order {after} in {wait}")
            raise Snooze(wait)
        return answer.raise_for_status().json()


class PretendedApi:
    """Gives ten of its orders a page, and allows two requests in three seconds."""

    def __init__(self, orders: int = 45) -> None:
        self.orders = orders
        self.asked: list[int] = []
        self._since, self._used = 0.0, 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        now = self.now()
        if now >= self._since + 3:
            self._since, self._used = now, 0
        self._used += 1
        if self._used > 2:
            return httpx.Response(429, headers={"retry-after": "3"})
        after = int(request.url.params["after"])
        self.asked.append(after)
        return httpx.Response(200, json=list(range(after + 1, min(after + 10, self.orders) + 1)))

    def now(self) -> float:
        """The time by which it allows requests."""
        return time.monotonic()

    def client(self) -> httpx.AsyncClient:
        """Where this were a real one: `httpx.AsyncClient(base_url="https://…")`."""
        return httpx.AsyncClient(
            transport=httpx.MockTransport(self), base_url="https://api.example"
        )


jobs = [PollOrders(PretendedApi().client())]
