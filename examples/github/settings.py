"""The settings of the receiver and the jobs, from `GITHUB_JOBS_*` environment variables."""

from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _seconds(value: object) -> object:
    """Let an environment variable say `90` as well as `PT1M30S`."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(gt=timedelta(0))]
"""Seconds, or an ISO 8601 duration."""


class Settings(BaseSettings):
    """What can be set, with defaults for real use; durations are seconds or ISO 8601."""

    model_config = SettingsConfigDict(env_prefix="GITHUB_JOBS_", frozen=True)

    database: Path = Path(".data/github.db")
    """The SQLite file that the receiver and the worker share."""

    digest_after: Duration = timedelta(minutes=10)
    """How long deliveries are gathered before they become a digest."""
    digest_max: int = Field(default=500, gt=0)
    """So many deliveries become a digest at once."""

    health_every: Duration = timedelta(minutes=5)
    """How often a repository's health is looked at."""
    stale_after: Duration = timedelta(days=14)
    """An open thread in which nothing happened for so long is stale."""
    forget_after: Duration = timedelta(days=90)
    """A repository without a delivery for so long is no longer watched, until the next one."""

    follow_up_after: Duration = timedelta(days=3)
    """So long after its last comment a thread is followed up, then after twice as long."""
    follow_ups: int = Field(default=3, gt=0)
    """A silent thread is followed up so many times."""

    host: str = "127.0.0.1"
    port: int = 8700
    webhook_secret: SecretStr | None = None
    """The secret entered at GitHub; the receiver does not start without it."""
    max_body: int = Field(default=25 * 1024 * 1024, gt=0)
    """The largest body taken, in bytes; GitHub sends at most 25 MB."""
    remember_for: Duration = timedelta(days=30)
    """How long the ids of deliveries are kept; GitHub redelivers for three days."""


@lru_cache(maxsize=1)
def settings() -> Settings:
    """Give this process's settings, read once."""
    return Settings()
