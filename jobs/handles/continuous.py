"""The handle of a continuous instance."""

from datetime import timedelta

from temporalio.client import WorkflowExecutionStatus, WorkflowQueryFailedError
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError
from typing_extensions import TypeVar

from ..arguments import shown
from ..definitions import ContinuousJob
from ..errors import InvalidArgument
from ..schedule import Cron, Every, Schedule
from ..status import JobStatus, StartReceipt, StatusWord
from ..tracing import sending
from ..wire import JSON
from .base import Handle
from .connection import Connection
from .limits import ANSWER_TIME, TimeLimit
from .visible import with_job_status

State = TypeVar("State")

# A start must not depend on a worker: it is there to answer quickly, or it is not.
_ANSWER_TIME = timedelta(milliseconds=500)


class ContinuousHandle(Handle[State]):
    """Starts an instance and controls it."""

    workflow = "ContinuousJob"

    def __init__(self, connection: Connection, job: type[ContinuousJob[State]], key: str) -> None:
        super().__init__(connection, job, key)
        self._state_version = job.state_version

    async def start(self, state: State | None = None) -> StartReceipt:
        """Start the instance, from `state` or the job's initial one.

        Starting a live one changes nothing.

        Raises:
            InvalidState: the state does not fit the state type; nothing was sent.
            PayloadTooLarge: it has over 512 KB.
        """
        argument = self._start_argument()
        if state is not None:
            argument["state"] = self._codec.check_state(state, self.key)
            argument["stateVersion"] = self._state_version
        with sending("start", self.job_name, self.instance_id, []) as traceparent:
            if traceparent is not None:
                argument["traceparent"] = traceparent
            created = await self._start(argument)
        status = "scheduled" if created else await self._status_word()
        return StartReceipt(created=created, instance_id=self.instance_id, status=status)

    async def came_to_its_end(self) -> bool:
        """Whether the last life ended as planned, by `max_runs` or `until`. The library's own."""
        found = await self._instance.look(TimeLimit(ANSWER_TIME))
        if found is None or found.status != WorkflowExecutionStatus.COMPLETED:
            return False
        result = await (await self._instance.workflow()).result()
        return result["status"] == "completed"

    async def _status_word(self) -> StatusWord:
        """The instance's own word; `scheduled` where no worker is there to give it."""
        workflow = await self._instance.workflow()
        try:
            answer = await workflow.query("status", rpc_timeout=_ANSWER_TIME)
        except (RPCError, WorkflowQueryFailedError):
            return "scheduled"
        return JobStatus.model_validate(answer).status

    async def _start(self, argument: dict[str, JSON]) -> bool:
        client = await self._connection.link.client()

        async def start(attributes: TypedSearchAttributes | None) -> None:
            await client.start_workflow(
                self.workflow,
                argument,
                id=self.instance_id,
                task_queue=self._connection.task_queue,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                static_summary=f"{self.job_name} for {self.key}",
                search_attributes=attributes,
            )

        try:
            await with_job_status(client, start)
        except WorkflowAlreadyStartedError:
            return False
        except RPCError as error:
            raise await self._instance.explained(error) from error
        return True

    async def trigger(self) -> bool:
        """Run once now; while a run is under way, once more after it. False where none lives."""
        return await self._control("trigger")

    async def reschedule(self, schedule: Schedule | None) -> bool:
        """Give this instance a schedule of its own; None: the job's own again.

        It holds, whatever the class says, until it is reset or the instance ends. What was missed
        before is not made up for. False where none lives.

        Raises:
            DefinitionError: the schedule is wrong; nothing was sent.
        """
        if schedule is None:
            return await self._control("reschedule", None)
        if not isinstance(schedule, Every | Cron):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidArgument(
                f"{self.instance_id}: reschedule takes an Every, a Cron or None, "
                f"not {shown(schedule)}"
            )
        schedule.check(self.instance_id)
        return await self._control("reschedule", schedule.rule().model_dump(exclude_defaults=True))
