"""What became of each event of a debounce instance, read from Temporal's histories alone."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client, WorkflowHistory


@dataclass
class Ledger:
    """The numbers of the events that runs had, and of those that were rejected in a flush."""

    flushed: Counter[int] = field(default_factory=Counter[int])
    rejected: Counter[int] = field(default_factory=Counter[int])
    windows: int = 0
    longest: int = 0
    """The most events that one history has."""

    def add(self, history: WorkflowHistory) -> None:
        """Take in one run of a workflow."""
        self.longest = max(self.longest, len(history.events))
        given: dict[int, Any] = {}
        for event in history.events:
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name.endswith(".execute"):
                given[event.event_id] = _json(scheduled.input.payloads)["detail"]["events"]
            completed = event.activity_task_completed_event_attributes
            if completed.scheduled_event_id in given:
                self._take(given[completed.scheduled_event_id], _json(completed.result.payloads))

    def _take(self, events: list[Any], result: Any) -> None:
        wrong = [item["index"] for item in result["detail"]["rejected"]]
        self.rejected.update(_number(events[index]["data"]) for index in wrong)
        if result["ran"]:
            self.windows += 1
            self.flushed.update(_numbers(result["state"]))

    @property
    def twice(self) -> list[int]:
        """Events that count more than once."""
        return [n for n, times in (self.flushed + self.rejected).items() if times > 1]


async def ledger_of(client: Client, instance_ids: Iterable[str]) -> Ledger:
    """Of all lives and runs of some instances."""
    ledger = Ledger()
    for instance_id in instance_ids:
        async for run in client.list_workflows(f"WorkflowId = '{instance_id}'"):
            handle = client.get_workflow_handle(instance_id, run_id=run.run_id)
            ledger.add(await handle.fetch_history())
    return ledger


def _json(payloads: Any) -> Any:
    return json.loads(payloads[0].data)


def _number(data: Any) -> int:
    n = data["n"]
    return n if isinstance(n, int) else n[0]


def _numbers(state: Any) -> list[int]:
    return state["ns"] if isinstance(state, dict) else [push["n"] for push in state]
