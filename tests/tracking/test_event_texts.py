"""Events as JSON text in a workflow, and many of them read at once in a worker."""

from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from durable_jobs import DebounceJob, DebounceRun, InvalidEvent
from durable_jobs.wire import dumps
from durable_jobs.workflows.machines.texts import EventText, texts_of, values_of

EVENTS = [
    (5, None),
    ({"a": [1, None, "ü"]}, None),
    ("", "delivery-1"),
    (None, ""),
    ([], 'quotes " and ü'),
]


@pytest.mark.parametrize(("data", "event_id"), EVENTS)
def test_a_text_tells_the_size_of_its_data_alone(data: Any, event_id: str | None) -> None:
    assert EventText.of(data, event_id).size == len(dumps(data))


def test_texts_are_read_as_the_events_that_they_were_made_of() -> None:
    texts = [EventText.of(*event) for event in EVENTS]
    assert [(each["data"], each.get("id")) for each in values_of(texts)] == EVENTS
    assert texts_of(values_of(texts)) == texts
    assert [(text.event().data, text.event().id) for text in texts] == EVENTS
    assert values_of([]) == []


class Panic(BaseException):
    """As code in Rust raises it."""


def picky(n: int) -> int:
    if n == 13:
        raise RuntimeError("not that one")
    if n == 14:
        raise Panic
    return n


class Sum(DebounceJob[Annotated[int, AfterValidator(picky)], int]):
    name = "sum"
    flush_after = timedelta(seconds=1)

    def reduce(self, state: int | None, event: int) -> int:
        if event == 7:
            raise InvalidEvent("seven is taken")
        if event == 8:
            raise Panic
        return (state or 0) + 10 // event

    async def execute(self, run: DebounceRun[int]) -> None:
        """Nothing."""


def test_of_many_events_each_that_does_not_fit_is_rejected_alone() -> None:
    data = [1, "x", 2, 13, 0, 7, 14, 8, 5]
    folded = Sum().fold([{"data": each} for each in data], None, has_base=False, version=1)
    assert folded.state == 10 + 5 + 2
    assert [rejected.index for rejected in folded.rejected] == [1, 3, 4, 5, 6, 7]
    reasons = [rejected.reason for rejected in folded.rejected]
    assert "integer" in reasons[0]
    assert reasons[1:] == [
        "a validator raised RuntimeError",
        "reduce raised ZeroDivisionError",
        "seven is taken",
        "a validator raised Panic",
        "reduce raised Panic",
    ]
