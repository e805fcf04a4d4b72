"""Tells Temporal's visibility whether an instance is paused or fails, where it can be told.

The search attribute is set when an instance is started, by a client that knows it: that costs no
event of history. An instance that has it from its start keeps it true, and no other touches it. So
no instance asks whether the attribute exists, and a replay sees what the run saw.
"""

from temporalio import workflow
from temporalio.common import SearchAttributeKey

from durable_jobs.names import JOB_STATUS, STATUS_FAILING, STATUS_OK, STATUS_PAUSED

from .machines.machine import Machine

_KEY = SearchAttributeKey.for_keyword_list(JOB_STATUS)


def tell_visibility(machine: Machine) -> None:
    """Bring the attribute up to date: an event of history, where its words have changed."""
    told = workflow.info().typed_search_attributes.get(_KEY)
    words = words_of(machine)
    if told is not None and list(told) != words:
        # The SDK leaves a parameter of the type open.
        workflow.upsert_search_attributes(  # pyright: ignore[reportUnknownMemberType]
            [_KEY.value_set(words)]
        )


def words_of(machine: Machine) -> list[str]:
    """Whether it is paused, and whether it fails: its last attempt did, or events are set aside."""
    life = machine.life
    fails = life.last_error is not None or life.paused == "exhausted" or machine.has_set_aside
    words = [STATUS_PAUSED] if life.paused else []
    words += [STATUS_FAILING] if fails else []
    return words or [STATUS_OK]
