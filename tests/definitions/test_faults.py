"""What is said of a value that does not fit: where, as far as the place is no part of the value."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from durable_jobs.faults import faults_of

NO_INTEGER = "Input should be a valid integer, unable to parse string as an integer"


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[int] = []
    prices: dict[str, int] = {}
    count: int = Field(alias="orderCount", default=1)


def faults(kind: Any, value: object) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(kind).validate_python(value)
    return faults_of(raised.value)


def test_a_fault_names_the_field_as_the_value_has_it_and_the_place_in_a_list() -> None:
    assert faults(Order, {"orderCount": "x"}) == [f"orderCount: {NO_INTEGER}"]
    assert faults(Order, {"items": [1, "x"]}) == [f"items.1: {NO_INTEGER}"]


def test_a_fault_of_the_whole_value_names_no_place() -> None:
    assert faults(int, "x") == [NO_INTEGER]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (dict[str, int], {"Secret": "x"}, f"…: {NO_INTEGER}"),
        (dict[str, dict[str, int]], {"Secret": {"Secret": "x"}}, f"….…: {NO_INTEGER}"),
        (Order, {"prices": {"Secret": "x"}}, f"prices.…: {NO_INTEGER}"),
        (Order, {"Secret": 1}, "…: Extra inputs are not permitted"),
    ],
)
def test_a_key_of_the_value_is_not_quoted(kind: Any, value: object, said: str) -> None:
    assert faults(kind, value) == [said]
