"""What would not be read back from its JSON as it was is refused, with the place and no value."""

import dataclasses
import math
from collections import defaultdict, deque
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic.dataclasses
import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    computed_field,
    field_serializer,
    field_validator,
)

from durable_jobs import InvalidEvent, InvalidState, StateMismatch, TaskJob, TaskRun
from durable_jobs.definitions.codec import Codec, codec_of
from durable_jobs.wire import dumps, from_raw, json_to_raw

BERLIN: tzinfo = ZoneInfo("Europe/Berlin")
SECRET = "hunter2"


def codec(kind: Any) -> Codec:
    """Of a job with one type for events, states and replies."""

    class Sample(TaskJob[kind, kind, kind]):  # type: ignore[valid-type]
        name = "sample"

        async def on_event(self, run: TaskRun[Any], event: Any) -> Any:
            """Nothing."""

        async def execute(self, run: TaskRun[Any]) -> None:
            """Nothing."""

    return codec_of(Sample)


def refused(kind: Any, value: Any) -> str:
    """With what such a value is refused, the same as a state, a reply and an event."""
    sample = codec(kind)
    with pytest.raises(InvalidState) as state:
        sample.dump_state(value, "k")
    with pytest.raises(InvalidState) as reply:
        sample.dump_reply(value, "k")
    with pytest.raises(InvalidEvent) as event:
        sample.event_json(value, "k")
    texts = [str(refusal.value) for refusal in (state, reply, event)]
    for text in texts:
        assert text.startswith("sample, key 'k': ")
        assert SECRET not in text
    return texts[-1]


class Order(BaseModel):
    count: int = Field(ge=0, default=1)
    items: list[int] = []
    prices: dict[str, int] = {}


class Larger(Order):
    more: str = "x"


class LaterExcluded(BaseModel):
    n: int = 1
    kept: str = Field(default="", exclude=True)


class Base64(BaseModel):
    model_config = ConfigDict(ser_json_bytes="base64")

    data: bytes


class Lossy(BaseModel):
    price: float

    @field_serializer("price")
    def rounded(self, price: float) -> int:
        return round(price)


class Closed(BaseModel):
    """Has an equality that looks at one field alone."""

    id: int
    note: str = Field(default="", exclude=True)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Closed) and self.id == other.id

    __hash__ = None  # type: ignore[assignment]


class Hidden(BaseModel):
    n: int = 1
    _origin: str = PrivateAttr(default="")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    n: int = 1


class Numbers(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="constants")

    x: float


@dataclasses.dataclass
class Counted:
    a: int
    b: int = dataclasses.field(init=False, default=0, compare=False)


class Holder(BaseModel):
    counted: Counted


class Pair(Enum):
    FIRST = (1, 2)


def with_(value: Any, **changed: Any) -> Any:
    """The same value, changed after it was validated."""
    for name, each in changed.items():
        setattr(value, name, each)
    return value


def without(value: Any, name: str) -> Any:
    """The same value, with a field less."""
    delattr(value, name)
    return value


@pytest.mark.parametrize(
    ("kind", "value", "place"),
    [
        (float, math.nan, "event is NaN or infinite"),
        (float | None, math.inf, "event is NaN or infinite"),
        (Any, {SECRET: [1, -math.inf]}, "<key 1>.1 is NaN or infinite"),
        (Numbers, Numbers(x=math.nan), "x is NaN or infinite"),
        (Decimal, Decimal("NaN"), "event: Input should be a finite number"),
        (dict[tuple[int, int], int], {(1, 2): 3}, "<key 1>.[key]: Input should be a valid array"),
        (dict[int | None, int], {None: 3}, "<key 1>"),
        (dict[str, Any], {"a": {5: SECRET}}, "<key 1>.<key 1>"),
        (Pair, Pair.FIRST, "event: Input should be (1, 2)"),
        (Order, with_(Order(), count=-1), "count: Input should be greater than or equal to 0"),
        (Order, with_(Order(), items=[1, SECRET]), "items.1: Input should be a valid integer"),
        (Order, with_(Order(), items=[1, "5"]), "items.1 is int, got str"),
        (Order, with_(Order(), prices={SECRET: None}), "prices.<key 1>: Input should be a valid"),
        (Order, without(Order(), "count"), "count is not set, but comes back"),
        (Order, Larger(), "event is Order, got Larger"),
        (list[Order], [Order(), Larger()], "1 is Order, got Larger"),
        (LaterExcluded, LaterExcluded(kept=SECRET), "kept comes back with another value"),
        (Base64, Base64(data=b"abc"), "data comes back with another value"),
        (Lossy, Lossy(price=1.5), "price comes back with another value"),
        (Counted, with_(Counted(1), b=9), "b comes back with another value"),
        (Closed, Closed(id=1, note=SECRET), "note comes back with another value"),
        (list[Closed], [Closed(id=1, note=SECRET)], "0.note comes back with another value"),
        (Holder, Holder(counted=with_(Counted(1), b=9)), "counted.b comes back with another value"),
        (Numbers, Numbers(x=-math.inf), "x is NaN or infinite"),
        (Hidden, with_(Hidden(), _origin=SECRET), "_origin comes back with another value"),
        (Open, Open(**{SECRET: (1, 2)}), "<key 1> is list, got tuple"),
        (Any, (1, 2), "event is list, got tuple"),
        (Any, [datetime.now(UTC)], "0 is str, got datetime"),
        (Any, Order(), "event is dict, got Order"),
        (Any, {1, 2}, "event is list, got set"),
        (Any, {SECRET: object()}, "<key 1> is of the type object, which JSON cannot hold"),
        (Any, {"a": "\ud800"}, "<key 1> is no Unicode text"),
        (
            Annotated[Any, PlainSerializer(lambda _: 5)],
            object(),
            "event is int, got object",
        ),
        (str, "\ud800", "event"),
        (bytes, b"\xff", "event is bytes that are no UTF-8"),
    ],
)
def test_a_value_that_would_come_back_as_another_is_refused_with_the_place(
    kind: Any, value: Any, place: str
) -> None:
    assert place in refused(kind, value)


def test_a_number_of_more_digits_than_readers_take_is_refused() -> None:
    assert "event: Invalid JSON: number out of range" in refused(int, 10**5_000)


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "inside each other" in refused(list[Any], loop)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (int, "5", "state is int, got str"),
        (int, None, "state: Input should be a valid integer, got NoneType"),
        (Order, {"count": 1}, "state is Order, got dict"),
        (Order, None, "state: Input should be an object, got NoneType"),
        (type(None), 5, "state: Input should be null"),
    ],
)
def test_a_state_of_another_type_is_refused_in_words(kind: Any, value: Any, said: str) -> None:
    with pytest.raises(InvalidState) as refusal:
        codec(kind).dump_state(value, "k")
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (dict[str, dict[str, list[int]]], {SECRET: {SECRET: 5}}, "<key 1>.<key 1>: Input should"),
        (dict[int, int], {1: 1, 4929: "x"}, "<key 2>: Input should be a valid integer"),
        (Counted, {"a": "x"}, "a: Input should be a valid integer"),
        (Order | int, {"count": "x"}, "Order.count: Input should be a valid integer"),
        (Order | int, {"count": "x"}, "int: Input should be a valid integer, got dict"),
        (list[Order], [{}, {"items": {}}], "1.items: Input should be a valid list, got dict"),
        (int, "x", "event: Input should be a valid integer"),
    ],
)
def test_an_event_that_does_not_fit_is_refused_with_the_place(
    kind: Any, value: Any, said: str
) -> None:
    with pytest.raises(InvalidEvent) as refusal:
        codec(kind).event_json(value, "k")
    assert said in str(refusal.value)
    assert SECRET not in str(refusal.value)
    with pytest.raises(InvalidEvent, match=said.split(":")[0]):
        codec(kind).load_event(value)


class Touchy(BaseModel):
    n: int = 1

    @field_validator("n")
    @classmethod
    def judged(cls, n: int) -> int:
        if n == 13:
            raise RuntimeError(SECRET)
        return n

    @field_serializer("n")
    def written(self, n: int) -> int:
        if n == 14:
            raise KeyError(SECRET)
        return n


def test_an_error_of_a_validator_or_a_serializer_is_told_by_its_name_alone() -> None:
    assert "event: a validator raised RuntimeError" in refused(Touchy, with_(Touchy(), n=13))
    assert "event: its serializer written raised KeyError" in refused(Touchy, Touchy(n=14))


# -- what comes back


class Colour(StrEnum):
    RED = "red"


class Named(NamedTuple):
    n: int
    text: str


class Totalled(BaseModel):
    n: int = 1

    @computed_field
    @property
    def twice(self) -> int:
        return 2 * self.n


class InWords(BaseModel):
    model_config = ConfigDict(
        ser_json_inf_nan="strings", ser_json_bytes="hex", val_json_bytes="hex"
    )

    x: float = math.nan
    data: bytes = b"\xff"


class Aliased(BaseModel):
    model_config = ConfigDict(validate_by_name=True)

    user_id: int = Field(alias="userId", default=1)


@pydantic.dataclasses.dataclass(slots=True)
class Slotted:
    n: int
    at: datetime | None = None


class Money:
    """Of a type with no equality of its own."""

    def __init__(self, cents: int) -> None:
        self.cents = cents


def money(value: Any) -> Money:
    return value if isinstance(value, Money) else Money(value)


def cents(value: Money) -> int:
    return value.cents


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 10**300),
        (float, 0.1),
        (str, "ü" * 2_000),
        (str, Colour.RED),
        (Colour, Colour.RED),
        (bool | None, None),
        (Literal["a", "b"], "b"),
        (Any, {"a": [1, 2.5, None, True, "x", {}]}),
        (dict[str, Any], defaultdict(list, a=[1])),
        (dict[int, date], {1: date(2026, 1, 1)}),
        (tuple[int, ...], (1, 2)),
        (set[int], {1, 2}),
        (deque[int], deque([1, 2])),
        (Named, Named(1, "x")),
        (timedelta, timedelta(days=-3, microseconds=1)),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=5)),
        (Path, Path("/tmp/x")),
        (datetime, datetime(2025, 10, 26, 2, 30, fold=1, tzinfo=BERLIN)),
        (Order, Order(count=3, items=[1], prices={"a": 1})),
        (Order | Counted, Counted(2)),
        (Slotted, Slotted(1, datetime.now(UTC))),
        (Totalled, Totalled(n=2)),
        (InWords, InWords()),
        (Aliased, Aliased(userId=2)),
        (LaterExcluded, LaterExcluded(n=2)),
        (Hidden, Hidden(n=2)),
        (Open, Open(n=2, more=[1])),
        (
            Annotated[Money, PlainValidator(money), PlainSerializer(cents)],
            Money(5),
        ),
    ],
)
def test_a_value_that_comes_back_is_taken(kind: Any, value: Any) -> None:
    sample = codec(kind)
    sample.event_json(value, "k")
    sample.dump_reply(value, "k")
    back = sample.read_state(sample.dump_state(value, "k"))
    assert sample.dump_state(back, "k") == sample.dump_state(value, "k")


def test_what_a_caller_gives_as_plain_data_becomes_an_event_of_the_type() -> None:
    assert codec(Order).event_json({"count": "5"}, "k") == b'{"count":5,"items":[],"prices":{}}'


def test_a_value_is_judged_by_what_it_holds_where_its_equality_raises() -> None:
    class Array:
        """Compares by element, as arrays do."""

        def __init__(self, *items: int) -> None:
            self.items = items

        def __eq__(self, other: object) -> bool:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = None  # type: ignore[assignment]

        def __repr__(self) -> str:
            return f"Array{self.items}"

    read: Callable[[Any], Array] = lambda value: (  # noqa: E731
        value if isinstance(value, Array) else Array(*value)
    )
    kind = Annotated[Array, PlainValidator(read), PlainSerializer(lambda array: array.items[:2])]
    assert codec(kind).dump_state(Array(1, 2), "k") == [1, 2]
    with pytest.raises(InvalidState, match="comes back with another value"):
        codec(kind).dump_state(Array(1, 2, 3), "k")


class Knot:
    """Knows itself."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.ends = [self, [self]]


def test_objects_that_know_each_other_are_taken_as_they_are_written() -> None:
    kind = Annotated[
        Knot,
        PlainValidator(lambda value: value if isinstance(value, Knot) else Knot(value)),
        PlainSerializer(lambda knot: knot.n),
    ]
    assert codec(kind).dump_state(Knot(5), "k") == 5


def test_numbers_that_json_has_not_are_no_json_on_the_wire_either() -> None:
    for text in (b"NaN", b'{"x":-Infinity}'):
        with pytest.raises(ValueError, match="not valid JSON"):
            from_raw(json_to_raw(text))
    assert dumps({"x": math.nan}) == b'{"x":null}'


def test_an_upgrade_that_gives_what_json_cannot_hold_is_a_mismatch() -> None:
    class Upgraded(TaskJob[int, int]):
        name = "upgraded"
        state_version = 2

        def upgrade_state(self, version: int, data: Any) -> Any:
            return object()

        async def on_event(self, run: TaskRun[int], event: int) -> None:
            """Nothing."""

        async def execute(self, run: TaskRun[int]) -> None:
            """Nothing."""

    with pytest.raises(StateMismatch, match="upgraded: upgrade_state gave what JSON cannot hold"):
        codec_of(Upgraded).load_state(Upgraded(), 5, 1)


class Deferred(BaseModel):
    model_config = ConfigDict(defer_build=True)

    n: int = 1


def test_a_type_that_is_built_when_it_is_first_used_is_taken() -> None:
    assert codec(Deferred).event_json(Deferred(n=2), "k") == b'{"n":2}'
