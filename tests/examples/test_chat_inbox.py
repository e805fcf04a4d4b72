"""The example of a chat: one answer once the user has stopped typing, and not before."""

from durable_jobs.testing import Simulation
from examples.chat_inbox import Activity, ChatInbox, received


class Chat:
    """A simulation with the messages that were answered together."""

    def __init__(self) -> None:
        self.answered: list[list[str]] = []
        self.sim = Simulation(ChatInbox(self._answer))
        self._activities = 0

    async def _answer(self, chat: str, texts: list[str], key: str) -> None:
        self.answered.append(texts)

    def tell(self, text: str = "", activity_id: str = "") -> None:
        """Send a message, or that the user is typing."""
        self._activities += 1
        activity_id = activity_id or str(self._activities)
        self.sim.run(received(self.sim.jobs, "c1", Activity(text=text), activity_id))


def test_messages_are_answered_together_three_seconds_after_the_last_key_stroke() -> None:
    chat = Chat()
    chat.tell("Hi,")
    for _ in range(4):
        chat.sim.advance("2s")
        chat.tell()
    chat.tell("where is my order?")
    chat.sim.advance("2900ms")
    assert chat.answered == []
    chat.sim.advance("100ms")
    assert chat.answered == [["Hi,", "where is my order?"]]


def test_who_never_stops_typing_is_answered_after_a_minute() -> None:
    chat = Chat()
    chat.tell("Listen:")
    for _ in range(30):
        chat.sim.advance("2s")
        chat.tell()
    assert chat.answered == [["Listen:"]]


def test_a_message_that_is_sent_twice_is_answered_once() -> None:
    chat = Chat()
    chat.tell("Hello?", "m1")
    chat.sim.advance("5s")
    chat.tell("Hello?", "m1")
    chat.sim.advance("5s")
    assert chat.answered == [["Hello?"]]


def test_typing_without_a_message_brings_no_answer() -> None:
    chat = Chat()
    chat.tell()
    chat.sim.advance("1m")
    assert chat.answered == []
