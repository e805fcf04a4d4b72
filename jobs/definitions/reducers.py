"""Reducers to choose from, beside keeping the latest event and one of the user's own."""

from typing import TypeVar

Event = TypeVar("Event")


def collect(self: object, state: list[Event] | None, event: Event) -> list[Event]:
    """Keep every event, in a list: `reduce = collect` in a `DebounceJob[Push, list[Push]]`.

    A list flushes at 256 KB of events, whatever the other rules; what came beyond that is the next
    window's.
    """
    if state is None:
        return [event]
    state.append(event)
    return state
