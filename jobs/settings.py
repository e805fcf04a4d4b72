"""The worker's settings, from DURABLE_JOBS_* environment variables.

The connection to Temporal has its own: see `durable_jobs.connection`.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from durable_jobs.tracking import HttpSink, Tracking
from durable_jobs.tracking.sinks.headers import checked_headers
from durable_jobs.tracking.sinks.signing import signing_key

from .connection import connect
from .errors import InvalidSettings
from .protocol import EventTypes

__all__ = ["InvalidSettings", "Settings", "connect", "load_settings", "tracking_from"]

_PREFIX = "DURABLE_JOBS_"


def _parse_headers(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        parsed: Any = json.loads(value)
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(parsed, dict):
        raise ValueError("is not a JSON object")
    return parsed  # pyright: ignore[reportUnknownVariableType]


class Settings(BaseSettings):
    """What DURABLE_JOBS_* can say. Empty variables count as unset."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, hide_input_in_errors=True
    )

    task_queue: str = "durable-jobs"
    """The Temporal task queue of the worker."""

    # The address can hold credentials.
    tracking_url: str | None = Field(default=None, repr=False)
    """Where tracking events are POSTed; tracking is off without it."""

    tracking_headers: Annotated[dict[str, str], NoDecode, BeforeValidator(_parse_headers)] = Field(
        default_factory=dict, repr=False
    )
    """Sent with each of those requests, a JSON object."""

    tracking_secret: SecretStr | None = None
    """`whsec_…`: signs those requests."""

    tracking_types: EventTypes = "all"
    """`core` leaves out `job.paused` and `job.resumed`, for collectors that do not know them."""

    env: str = ""
    """Named in each tracking event, such as `production`."""

    service_key: str = ""
    """Named in each tracking event."""

    metrics: str | None = None
    """Where Prometheus finds the worker's metrics, such as `127.0.0.1:9464`; nowhere without it."""

    health: str | None = None
    """Where the worker answers `/livez` and `/readyz`, such as `127.0.0.1:8080`."""


def load_settings() -> Settings:
    """Read the environment. Raises InvalidSettings, which names each wrong variable."""
    try:
        return Settings()
    except ValidationError as error:
        problems = [
            f"{_PREFIX}{str(problem['loc'][0]).upper()}: {_reason(problem['msg'])}"
            for problem in error.errors(include_input=False, include_context=False)
        ]
        raise InvalidSettings("; ".join(problems)) from None


def tracking_from(settings: Settings) -> Tracking | None:
    """What the settings say about tracking, None where it is off. Raises InvalidSettings."""
    if settings.tracking_url is None:
        return None
    return Tracking(
        _sink(settings),
        env=settings.env,
        service_key=settings.service_key,
        types=settings.tracking_types,
    )


def _sink(settings: Settings) -> HttpSink:
    # It imports the HTTP library, which a worker without tracking does not need.
    from durable_jobs.tracking.sinks.address import read_url

    url, headers, secret = settings.tracking_url or "", settings.tracking_headers, None
    with _naming("TRACKING_URL"):
        read_url(url, "the tracking URL")
    with _naming("TRACKING_HEADERS"):
        checked_headers(headers)
    if settings.tracking_secret is not None:
        secret = settings.tracking_secret.get_secret_value()
        with _naming("TRACKING_SECRET"):
            signing_key(secret)
    try:
        return HttpSink(url, headers, secret=secret)
    except ValueError as error:
        # About a variable of the HTTP library's, which it names.
        raise InvalidSettings(str(error)) from error


@contextmanager
def _naming(variable: str) -> Generator[None]:
    try:
        yield
    except ValueError as error:
        raise InvalidSettings(f"{_PREFIX}{variable}: {error}") from error


def _reason(message: str) -> str:
    reason = message.removeprefix("Value error, ")
    if reason == message:
        return f"{message}; expected is a JSON object of texts" if "string" in message else message
    return f"{reason}; expected is a JSON object such as " + '{"Authorization": "Bearer …"}'
