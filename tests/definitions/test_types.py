"""The types that a job is given, and where its first state comes from."""

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, Field

from durable_jobs import (
    ContinuousJob,
    ContinuousRun,
    DebounceJob,
    DebounceRun,
    Every,
    JobsPlugin,
    TaskJob,
    TaskRun,
)
from tests.definitions.jobs import SECOND, Latest, but, refusal
from tests.support.scripted import Push, Total

Event = TypeVar("Event")
State = TypeVar("State")


class NoArguments(BaseModel):
    """A state that cannot be made without arguments."""

    needed: int


class Opaque:
    """Nothing pydantic can handle."""


def test_a_type_that_pydantic_cannot_handle_is_refused() -> None:
    class UnknownEvent(DebounceJob[Opaque]):
        name = "unknown-event"
        flush_after = SECOND

        async def execute(self, run: DebounceRun[Opaque]) -> None:
            """Nothing."""

    class UnknownState(ContinuousJob[Opaque]):
        name = "unknown-state"
        schedule = Every(SECOND)

        async def execute(self, run: ContinuousRun[Opaque]) -> None:
            """Nothing."""

    class UnknownReply(TaskJob[Push, Total, Opaque]):
        name = "unknown-reply"

        async def on_event(self, run: TaskRun[Total], event: Push) -> Opaque:
            return Opaque()

        async def execute(self, run: TaskRun[Total]) -> None:
            """Nothing."""

    for job in (UnknownEvent(), UnknownState(), UnknownReply()):
        assert "Opaque" in refusal(job)


def test_a_job_without_its_types_is_refused() -> None:
    class UntypedDebounce(DebounceJob):  # type: ignore[type-arg]
        name = "untyped-debounce"
        flush_after = SECOND

        async def execute(self, run: Any) -> None:
            """Nothing."""

    class UntypedTask(TaskJob):  # type: ignore[type-arg]
        name = "untyped-task"

        async def on_event(self, run: Any, event: Any) -> None:
            """Nothing."""

        async def execute(self, run: Any) -> None:
            """Nothing."""

    for job in (UntypedDebounce(), UntypedTask()):
        assert f"{type(job).__name__}: give the job its types" in refusal(job)


def test_a_job_whose_types_are_still_open_is_refused() -> None:
    class Open(DebounceJob[Event, Event], Generic[Event]):
        name = "open"
        flush_after = SECOND

        async def execute(self, run: DebounceRun[Event]) -> None:
            """Nothing."""

    class Closed(Open[Push]):
        pass

    assert "Open: give the job its types" in refusal(Open[Any]())
    JobsPlugin([Closed()])


def test_a_job_with_no_way_to_an_initial_state_is_refused() -> None:
    class Tick(ContinuousJob[NoArguments]):
        name = "tick"
        schedule = Every(SECOND)

        async def execute(self, run: ContinuousRun[NoArguments]) -> None:
            """Nothing."""

    class Thread(TaskJob[Push, NoArguments]):
        name = "thread"

        async def on_event(self, run: TaskRun[NoArguments], event: Push) -> None:
            """Nothing."""

        async def execute(self, run: TaskRun[NoArguments]) -> None:
            """Nothing."""

    def initial_state(self: object, key: str) -> NoArguments:
        return NoArguments(needed=1)

    for job in (Tick, Thread):
        assert "write initial_state" in refusal(job())
        JobsPlugin([but(job, initial_state=initial_state)()])


class OnlyOneState(DebounceJob[Push, State], Generic[State]):
    """Fixes the event, leaves the state."""

    flush_after = SECOND

    def reduce(self, state: State | None, event: Push) -> State:
        raise NotImplementedError

    async def execute(self, run: DebounceRun[State]) -> None:
        """Nothing."""


class Between(OnlyOneState[list[State]], Generic[State]):
    """A class between, with the type inside another."""


class Box(BaseModel, Generic[State]):
    """A generic model."""

    content: State


class Boxed(OnlyOneState[Box[State]], Generic[State]):
    """A class between, with the type inside a generic model."""


class Positive(DebounceJob[Annotated[int, Field(gt=0)], State], Generic[State]):
    """A type without a hash beside an open one."""


class Swapped(TaskJob[State, Event, int], Generic[Event, State]):
    """Its parameters in another order."""


def test_types_are_found_through_generic_classes_between() -> None:
    class First(OnlyOneState[Total]):
        name = "first"

    class Second(First):
        name = "second"

    class Nested(Between[Total]):
        name = "nested"

    class Unpacked(Boxed[Total]):
        name = "unpacked"

    class Counted(Positive[Total]):
        name = "counted"

    class Turned(Swapped[Total, Push]):
        name = "turned"

    for job in (First, Second):
        assert (job.event_type, job.state_type) == (Push, Total)
    assert (Nested.event_type, Nested.state_type) == (Push, list[Total])
    assert Unpacked.state_type == Box[Total]
    assert Counted.state_type == Total
    assert (Turned.event_type, Turned.state_type, Turned.reply_type) == (Push, Total, int)


def test_left_out_types_have_their_defaults() -> None:
    class Replyless(TaskJob[Push, Total]):
        name = "replyless"

    assert (Latest.event_type, Latest.state_type) == (Push, Push)
    assert Replyless.reply_type in (None, type(None))


@pytest.mark.parametrize(
    "kind", [int, str, dict[str, int], list[Push], Push | None, tuple[int, str]]
)
def test_any_type_that_pydantic_handles_is_taken(kind: Any) -> None:
    class AnyEvent(DebounceJob[kind]):  # type: ignore[valid-type]
        name = "any-event"
        flush_after = SECOND

        async def execute(self, run: DebounceRun[kind]) -> None:  # type: ignore[valid-type]
            """Nothing."""

    JobsPlugin([AnyEvent()])


# -- times


def test_a_naive_datetime_for_an_alarm_is_refused() -> None:
    run = _task_run()
    with pytest.raises(ValueError, match="aware"):
        run.schedule(datetime(2030, 1, 1))  # noqa: DTZ001
    assert run.scheduled_at is None
    run.schedule(datetime(2030, 1, 1, tzinfo=UTC))
    assert run.scheduled_at == datetime(2030, 1, 1, tzinfo=UTC)


def _task_run() -> TaskRun[Total]:
    context: Any = None
    return TaskRun(context, Total(), 0, 0, datetime.now(UTC), None)
