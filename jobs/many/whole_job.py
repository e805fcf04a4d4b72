"""A whole job: told what holds for its instances to come too."""

import asyncio

from temporalio.service import RPCError

from ..handles.connection import Connection
from ..handles.instance import explained
from ..pauses import HEEDED_WITHIN, pause_job, resume_job
from .selection import Selection


def means_job(selection: Selection, verb: str) -> bool:
    """Whether a verb is meant for a job itself, and not only for those that run now."""
    return verb in ("pause", "resume") and selection.is_whole_job


async def tell_job(
    connection: Connection, selection: Selection, verb: str, note: str | None
) -> bool:
    """Pause or resume a job as a whole; it holds on all workers when this returns.

    Returns whether there was a job to resume.

    Raises:
        JobsError: Temporal refuses, or cannot be reached.
    """
    if not means_job(selection, verb) or selection.job is None:
        return False
    client = await connection.link.client()
    try:
        if verb == "pause":
            await pause_job(client, connection.task_queue, selection.job, note)
        elif not await resume_job(client, selection.job, note):
            return False
    except RPCError as error:
        raise explained(client, f"the pause of the job {selection.job}", error) from error
    await asyncio.sleep(HEEDED_WITHIN)
    return True
