"""All instances of some jobs in memory, as the service that a client's calls reach."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import RawValue
from temporalio.exceptions import WorkflowAlreadyStartedError

from durable_jobs.client import JobClient
from durable_jobs.definitions import ContinuousJob, Job
from durable_jobs.errors import JobsError
from durable_jobs.kinds import KINDS
from durable_jobs.protocol import Detail, JobRef
from durable_jobs.registry import Registry
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.values import JSON
from durable_jobs.workflows.answers import state_of, status_of
from durable_jobs.workflows.inputs import read_start

from .attempts import QUEUE, Ran, Worker
from .clock import Clock
from .execution import Execution, Surroundings
from .service import Described, Service, client_of, not_found


class World(Service):
    """The instances, their clock, and what they did."""

    def __init__(
        self,
        jobs: Sequence[Job],
        start: datetime,
        make: Callable[[JobRef, str, Surroundings, dict[str, JSON]], Execution] = Execution,
    ) -> None:
        self._random = random.Random(0)
        self._make = make
        self.clock: Clock = Clock(start)
        tracking = Tracking(MemorySink(), env="simulation", service_key="simulation")
        self._registry = Registry(jobs, tracking.identity)
        self.client: Client = self.clock.run(client_of(self))
        self.runs: list[Ran] = []
        self.worker: Worker = Worker(self._registry, tracking, self.client, self.runs.append)
        self.events: list[Detail] = []
        self._executions: dict[str, Execution] = {}
        """The latest of each instance."""

    # -- what instances share

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()

    def tell(self, told: list[Detail]) -> None:
        """Take the tracking events of an instance."""
        known = {"env": "simulation", "serviceKey": "simulation"}
        self.events.extend({**event, **known} for event in told)

    # -- what callers do

    async def start(
        self,
        workflow_id: str,
        argument: JSON,
        *,
        signal: tuple[str, Sequence[RawValue]] | None,
        fails_if_alive: bool,
    ) -> str:
        """See base class."""
        return await self.clock.run_from(
            self._start(workflow_id, argument, signal, fails_if_alive=fails_if_alive)
        )

    async def _start(
        self,
        workflow_id: str,
        argument: JSON,
        signal: tuple[str, Sequence[RawValue]] | None,
        *,
        fails_if_alive: bool,
    ) -> str:
        alive = self._alive(workflow_id)
        if alive is not None and fails_if_alive and signal is None:
            raise WorkflowAlreadyStartedError(workflow_id, alive.kind.workflow, run_id=alive.run_id)
        found = alive or self._begin(workflow_id, argument)
        if signal is not None:
            found.receive(*signal)
        elif alive is None:
            found.wake()
        return found.run_id

    def _alive(self, workflow_id: str) -> Execution | None:
        found = self._executions.get(workflow_id)
        return None if found is None or found.finished else found

    def _begin(self, workflow_id: str, argument: JSON) -> Execution:
        kind = KINDS[workflow_id.partition(":")[0]]
        start = read_start([argument], kind, workflow_id, continued=False)
        ref = JobRef(job_type=kind.name, job=start["job"], key=start["key"])
        if self._job_of(ref) is None:
            known = ", ".join(job.name for job in self._registry)
            raise JobsError(
                f"{workflow_id}: this simulation does not know the {kind.name} job {ref.job!r}; "
                f"it knows: {known}. Give it to Simulation([...])."
            )
        run_id = str(UUID(int=self._random.getrandbits(128), version=4))
        made = self._executions[workflow_id] = self._make(ref, run_id, self, start)
        return made

    def _job_of(self, ref: JobRef) -> Job | None:
        return self._registry.find(ref.job_type, ref.job)

    async def signal(self, workflow_id: str, name: str, args: Sequence[RawValue]) -> None:
        """See base class."""
        await self.clock.run_from(self._signal(workflow_id, name, args))

    async def _signal(self, workflow_id: str, name: str, args: Sequence[RawValue]) -> None:
        alive = self._alive(workflow_id)
        if alive is None:
            raise not_found(workflow_id)
        alive.receive(name, args)

    async def update(
        self,
        workflow_id: str,
        name: str,
        args: Sequence[RawValue],
        update_id: str,
        start: JSON = None,
    ) -> JSON:
        """See base class."""
        return await self.clock.run_from(self._update(workflow_id, name, args, update_id, start))

    async def _update(
        self, workflow_id: str, name: str, args: Sequence[RawValue], update_id: str, start: JSON
    ) -> JSON:
        found = self._alive(workflow_id)
        if found is None and start is not None:
            found = self._begin(workflow_id, start)
            found.wake()
        if found is None:
            raise not_found(workflow_id)
        return await found.update(name, args, update_id)

    async def query(self, workflow_id: str, name: str) -> JSON:
        """See base class."""
        found = self._found(workflow_id)
        job = self._job_of(found.ref)
        if name == "state":
            return state_of(found.machine, job)
        return status_of(found.machine, job, self.clock.now())

    def _found(self, workflow_id: str) -> Execution:
        found = self._executions.get(workflow_id)
        if found is None:
            raise not_found(workflow_id)
        return found

    async def describe(self, workflow_id: str) -> Described:
        """See base class."""
        found = self._found(workflow_id)
        status = WorkflowExecutionStatus.RUNNING
        if found.finished:
            failed = found.machine.ending.status == "failed"
            words = WorkflowExecutionStatus
            status = words.FAILED if failed else words.COMPLETED
        return Described(
            id=workflow_id,
            workflow_type=found.kind.workflow,
            status=status,
            start_time=found.started_at,
            task_queue=QUEUE,
            raw_description=DescribeWorkflowExecutionResponse(),
        )

    async def heartbeat(self, token: bytes, mark: Any) -> None:
        """See base class. The attempt has kept it already."""

    # -- what tests do

    def lose_attempts(self) -> None:
        """Have the worker killed that makes the attempts under way."""
        for each in self._executions.values():
            each.lose_attempt()

    async def start_keys(self, jobs: JobClient) -> None:
        """Start the instances that a worker starts when it boots."""
        for job in self._registry:
            if isinstance(job, ContinuousJob):
                kind = type(cast("ContinuousJob[Any]", job))
                for key in kind.keys:
                    await jobs.continuous(kind, key).start()
