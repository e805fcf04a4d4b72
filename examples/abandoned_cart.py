"""Reminds of a cart that was left alone, once, and forgets it when it is paid or given up."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel

from durable_jobs import JobClient, TaskJob, TaskRun


class Change(BaseModel):
    """What a customer did with the cart."""

    kind: Literal["added", "removed", "paid"]
    item: str = ""


class Cart(BaseModel):
    """What is in it, and whether we have written about it."""

    items: list[str] = []
    reminded: bool = False


Send = Callable[[str, list[str], str], Awaitable[None]]
"""Sends a mail to a customer about these items; the third argument is its idempotency key."""


class AbandonedCart(TaskJob[Change, Cart]):
    name = "abandoned-cart"

    def __init__(self, send: Send, silence: timedelta = timedelta(hours=1)) -> None:
        self._send, self._silence = send, silence

    async def on_event(self, run: TaskRun[Cart], event: Change) -> None:
        match event.kind:
            case "added":
                run.state.items.append(event.item)
            case "removed" if event.item in run.state.items:
                run.state.items.remove(event.item)
            case "paid":
                run.terminate("paid")
            case _:
                pass
        run.schedule(self._silence)  # replaces the alarm that was set before

    async def execute(self, run: TaskRun[Cart]) -> None:
        if run.state.reminded or not run.state.items:
            run.terminate("given up")
            return
        await self._send(run.key, run.state.items, run.idempotency_key)
        run.state.reminded = True
        run.schedule(self._silence * 24)


async def changed(jobs: JobClient, customer: str, change: Change, request_id: str) -> None:
    """Call this from the shop; a request that it makes again counts once."""
    await jobs.task(AbandonedCart, customer).send(change, id=request_id)


async def print_mail(customer: str, items: list[str], key: str) -> None:
    """Stands for a mail service, which drops a repetition by the key."""
    print(f"to {customer}: you left {', '.join(items)} in your cart")


jobs = [AbandonedCart(print_mail, silence=timedelta(seconds=3))]  # so short to watch it
