"""A type whose values could never be read back is refused when the job is registered."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    RootModel,
    Secret,
    SecretBytes,
    SecretStr,
    computed_field,
    field_serializer,
    model_validator,
)
from temporalio.client import Client
from typing_extensions import TypedDict

from durable_jobs import ContinuousJob, DefinitionError, Every, JobClient, JobsPlugin, TaskJob
from durable_jobs.definitions import Job
from durable_jobs.definitions.codec import codec_of
from tests.definitions.jobs import SECOND, refusal


def task(event: Any, state: Any = None, reply: Any = None) -> Job:
    """A task with these types."""

    class Typed(TaskJob[event, state, reply]):  # type: ignore[valid-type]
        name = "typed"

        async def on_event(self, run: Any, event: Any) -> Any:
            """Nothing."""

        async def execute(self, run: Any) -> None:
            """Nothing."""

        def initial_state(self, key: str) -> Any:
            """Nothing."""

    return Typed()


class WrittenAs(BaseModel):
    user_id: int = Field(serialization_alias="userId")


class ReadAs(BaseModel):
    user_id: int = Field(validation_alias="userId", default=1)


class ReadFrom(BaseModel):
    user_id: int = Field(validation_alias=AliasPath("user", "id"))


class ByNameAlone(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)

    user_id: int = Field(alias="userId")


class InDict(TypedDict):
    user_id: Annotated[int, Field(serialization_alias="userId")]


class Excluded(BaseModel):
    token: str = Field(exclude=True)


class Totalled(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n: int

    @computed_field
    @property
    def twice(self) -> int:
        return 2 * self.n


class InText(BaseModel):
    payload: Json[list[int]]


@dataclasses.dataclass
class Opened:
    n: int
    path: dataclasses.InitVar[str]


class Login(BaseModel):
    password: SecretStr | None = None


class Nested(BaseModel):
    children: "list[Nested]" = []
    logins: dict[str, Login] = {}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (WrittenAs, "WrittenAs.user_id is written as 'userId' and read as 'user_id'"),
        (ReadAs, "ReadAs.user_id is written as 'user_id' and read as 'userId'"),
        (ReadFrom, "ReadFrom.user_id is written as 'user_id' and read as 'user.id'"),
        (ByNameAlone, "ByNameAlone.user_id is written as 'userId' and read as 'user_id'"),
        (InDict, "InDict.user_id is written as 'userId' and read as 'user_id'"),
        (list[WrittenAs] | None, "WrittenAs.user_id is written as 'userId'"),
        (Excluded, "Excluded.token is excluded and required"),
        (Totalled, "Totalled.twice is computed"),
        (InText, "InText.payload is a Json type"),
        (Opened, "Opened.path is an InitVar"),
        (Nested, "Login.password is a secret"),
        (SecretStr, "is a secret"),
        (RootModel[SecretBytes], "is a secret"),
        (dict[str, Secret[int]], "is a secret"),
    ],
)
def test_a_type_that_cannot_be_read_back_is_refused_with_the_field_and_what_to_do(
    kind: Any, said: str
) -> None:
    for what, job in (
        ("event", task(kind)),
        ("state", task(int, kind)),
        ("reply", task(int, int, kind)),
    ):
        message = refusal(job)
        assert message.startswith(f"typed: the {what} type cannot be kept: ")
        assert said in message
        assert message.endswith(tuple("abcdefghijklmnopqrstuvwxyz"))


async def test_a_client_hears_of_such_a_type_before_it_sends_anything(client: Client) -> None:
    with pytest.raises(DefinitionError, match=r"WrittenAs\.user_id"):
        JobClient(client).task(type(task(WrittenAs)), "k")  # type: ignore[arg-type]


# -- types that only look like it


class Shown(BaseModel):
    password: SecretStr

    @field_serializer("password", when_used="json")
    def in_clear(self, password: SecretStr) -> str:
        return password.get_secret_value()


class EitherWay(BaseModel):
    model_config = ConfigDict(validate_by_name=True)

    user_id: int = Field(validation_alias="userId")


class OneOfTwo(BaseModel):
    user_id: int = Field(
        validation_alias=AliasChoices("id", "userId"), serialization_alias="userId"
    )


class Rewritten(BaseModel):
    user_id: int = Field(serialization_alias="userId")

    @model_validator(mode="before")
    @classmethod
    def renamed(cls, data: Any) -> Any:
        return {"user_id": data["userId"]} if "userId" in data else data


class Forgetful(BaseModel):
    cache: SecretStr | None = Field(default=None, exclude=True)


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    name: str = Field(alias="catName", default="")


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Shown, Shown(password=SecretStr("x"))),
        (EitherWay, EitherWay(user_id=1)),
        (OneOfTwo, OneOfTwo(userId=1)),  # type: ignore[call-arg]
        (Rewritten, Rewritten(user_id=1)),
        (Forgetful, Forgetful()),
        (Json[int] | int, 5),
        (Annotated[Cat | Dog, Field(discriminator="kind")], Cat(catName="x")),
    ],
)
def test_a_type_whose_values_come_back_is_taken(kind: Any, value: Any) -> None:
    job = task(kind, kind, kind)
    JobsPlugin([job])
    codec = codec_of(type(job))
    assert codec.load_event(json.loads(codec.event_json(value, "k"))) == value


# -- names that are not there


class Unfinished(BaseModel):
    later: "NeverDefined"  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize("kind", [Unfinished, list["NeverDefined"]])  # type: ignore[name-defined]  # noqa: F821
def test_a_type_that_names_another_which_is_not_there_is_refused_with_its_name(kind: Any) -> None:
    message = refusal(task(kind))
    assert message.startswith("typed: the event type ")
    assert "'NeverDefined'" in message
    assert "define or import it" in message


class Early(BaseModel):
    late: "Late"


class Late(BaseModel):
    n: int = 1


@pytest.mark.parametrize("kind", [Early, list["Late"]])
def test_a_type_that_names_one_defined_later_is_taken(kind: Any) -> None:
    JobsPlugin([task(kind)])


# -- first states


class NotANumber(BaseModel):
    x: float = float("nan")


def test_a_first_state_that_cannot_be_kept_is_refused() -> None:
    class Begin(ContinuousJob[NotANumber]):
        name = "begin"
        schedule = Every(SECOND)

        async def execute(self, run: Any) -> None:
            """Nothing."""

    message = refusal(Begin())
    assert "write initial_state" in message
    assert "x is NaN" in message
