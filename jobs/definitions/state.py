"""Where the state of a job comes from, and what a run leaves."""

from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from ..errors import DefinitionError, InvalidState, PayloadTooLarge
from ..protocol import Detail, RunResult
from .base import Job
from .codec import codec_of
from .methods import call
from .run import Run, RunContext


@runtime_checkable
class Stateful(Protocol):
    """A job that can make its first state."""

    def initial_state(self, key: str) -> Any:
        """The state of a new instance."""
        ...


def initial_state(job: Job) -> Any:
    """`State()`, the default initial state."""
    return None if job.state_type is type(None) else job.state_type()


def check_initial_state(job: Job) -> None:
    """Raise `DefinitionError` where there is no way to a first state."""
    if type(job).has("initial_state"):
        return
    try:
        state = initial_state(job)
    except Exception as error:
        raise DefinitionError(
            f"{type(job).__qualname__}: {job.state_type!r} cannot be made without arguments "
            f"({type(error).__name__}); write initial_state(self, key)"
        ) from error
    try:
        codec_of(type(job)).dump_state(state, "")
    except (InvalidState, PayloadTooLarge) as error:
        raise DefinitionError(
            f"{type(job).__qualname__}: {job.state_type!r}() cannot be kept; write "
            f"initial_state(self, key). {error}"
        ) from error


async def load_or_create(job: Job, context: RunContext) -> Any:
    """The last attempt's checkpoint, the state a request carries, or the job's initial one."""
    request = context.request
    if context.restored is not None:
        state = state_reached(job, context, None)
    elif request.has_state or not isinstance(job, Stateful):
        state = codec_of(type(job)).load_state(job, request.state, request.state_version)
    else:
        state = await call(job.initial_state, request.key)
        # Before the handler runs: what cannot be kept fails the run before it does anything.
        codec_of(type(job)).dump_state(state, request.key)
    note_state(job, context, state)
    return state


def state_reached(job: Job, context: RunContext, state: Any) -> Any:
    """The state of the last attempt's checkpoint; without one, the state given."""
    kept = context.restored
    if kept is None:
        return state
    return codec_of(type(job)).load_state(job, kept.state, kept.state_version)


def note_state(job: Job, context: RunContext, state: Any) -> None:
    """Keep the state that the handler begins with, where the job's tracking events include it."""
    if not context.options.include_state:
        return
    # One that cannot be written is the handler's to mend, or fails with the run's result.
    with suppress(InvalidState, PayloadTooLarge):
        context.begins_with(codec_of(type(job)).dump_state(state, context.request.key))


def result_of(job: Job, run: Run[Any], detail: Detail) -> RunResult:
    """What a run whose handler succeeded leaves."""
    return RunResult(
        state=codec_of(type(job)).dump_state(run.state, run.key),
        state_version=job.state_version,
        terminate=run.terminated,
        terminate_reason=run.terminate_reason,
        detail=detail,
    )
