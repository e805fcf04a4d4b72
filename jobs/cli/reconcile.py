"""`durable-jobs reconcile`."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

import typer
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError

from durable_jobs.tracking import Tracking

from ..connection import connect
from ..errors import InvalidSettings, JobsError
from ..names import RECONCILE_WORKFLOW
from ..protocol import Reconciled, ReconcileRequest
from ..settings import load_settings, tracking_from
from ..wire import to_raw
from .leave import complain, leave

_WRONG_INPUT = 2


def reconcile(since: timedelta, every: timedelta | None, task_queue: str | None) -> NoReturn:
    """Run the command and end the process.

    Its code is 0 where all was dealt with, 2 where settings are wrong, else 1.
    """
    leave(asyncio.run(_reconcile(since, every, task_queue)))


async def _reconcile(since: timedelta, every: timedelta | None, task_queue: str | None) -> int:
    try:
        settings = load_settings()
        tracking = tracking_from(settings)
        client = await connect()
        queue = task_queue or settings.task_queue
        if every is not None:
            return await _schedule(client, queue, since, every)
        return await _look(client, queue, since, tracking)
    except InvalidSettings as error:
        complain(error)
        return _WRONG_INPUT
    except (JobsError, RPCError) as error:
        complain(f"could not reconcile: {error}")
        return 1


async def _look(client: Client, queue: str, since: timedelta, tracking: Tracking | None) -> int:
    from durable_jobs.activities.reconcile import Reconciler

    identity = tracking.identity if tracking is not None else None
    found = await Reconciler(client, queue, identity).reconcile(since)
    for workflow_id in found.delivered:
        typer.echo(f"delivering the last events of {workflow_id}")
    for workflow_id, why in found.failed.items():
        complain(f"{workflow_id}: {why}")
    typer.echo(_summary(found, queue))
    return 1 if found.failed else 0


def _summary(found: Reconciled, queue: str) -> str:
    total = len(found.delivered) + found.before + found.nothing + len(found.failed)
    parts = [
        f"{len(found.delivered)} now being delivered",
        f"{found.before} done before",
        f"{found.nothing} with nothing to say",
        f"{len(found.failed)} failed",
    ]
    return f"ended from outside on task queue {queue}: {total} ({', '.join(parts)})"


async def _schedule(client: Client, queue: str, since: timedelta, every: timedelta) -> int:
    schedule_id = f"durable-jobs-reconcile:{queue}"
    schedule = Schedule(
        action=ScheduleActionStartWorkflow(
            RECONCILE_WORKFLOW,
            to_raw(ReconcileRequest(since=since.total_seconds())),
            id=f"tracking-reconcile:{queue}",
            task_queue=queue,
            static_summary="Instances that were ended from outside",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=every)]),
    )
    try:
        await client.create_schedule(schedule_id, schedule, trigger_immediately=True)
        done = "made"
    except ScheduleAlreadyRunningError:
        await client.get_schedule_handle(schedule_id).update(_becomes(schedule))
        done = "changed"
    typer.echo(
        f"schedule {schedule_id} {done}: every {every}, looking {since} back. "
        f"To stop it: temporal schedule delete --schedule-id {schedule_id}"
    )
    return 0


def _becomes(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    def update(given: ScheduleUpdateInput) -> ScheduleUpdate:
        # Paused or with a note: that is the operator's.
        schedule.state = given.description.schedule.state
        return ScheduleUpdate(schedule=schedule)

    return update
