"""Answers a chat once its user has stopped typing: one answer, however many messages."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import BaseModel

from durable_jobs import DebounceJob, DebounceRun, JobClient


class Activity(BaseModel):
    """What the chat's page tells: a message, or, without a text, that the user is typing."""

    text: str = ""


Answer = Callable[[str, list[str], str], Awaitable[None]]
"""Answers these messages of a chat; the third argument is the answer's idempotency key."""


class ChatInbox(DebounceJob[Activity, list[str]]):
    name = "chat-inbox"
    quiet_for = timedelta(seconds=3)  # each message, and each sign of typing, begins it anew
    flush_after = timedelta(minutes=1)  # nobody waits longer than this
    dedupe_for = timedelta(minutes=10)  # for a page that sends again when its network is back
    timeout = timedelta(minutes=2)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def reduce(self, state: list[str] | None, event: Activity) -> list[str]:
        texts = state or []
        return [*texts, event.text] if event.text else texts

    async def execute(self, run: DebounceRun[list[str]]) -> None:
        if run.state:  # typing alone needs no answer
            await self._answer(run.key, run.state, run.idempotency_key)


async def received(jobs: JobClient, chat: str, activity: Activity, activity_id: str) -> None:
    """Call this with each message, and every two seconds while the user is typing."""
    await jobs.debounce(ChatInbox, chat).add(activity, id=activity_id)


async def print_answer(chat: str, texts: list[str], key: str) -> None:
    """Stands for the model or the colleague who answers."""
    print(f"{chat}: answering {' / '.join(texts)}")


jobs = [ChatInbox(print_answer)]
