"""The Django app: it brings settings, and connections to the database that are fit for handlers."""

import json
import os
from collections.abc import Mapping
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import close_old_connections

from durable_jobs.definitions.threads import around_handlers
from durable_jobs.settings import Settings

_SETTING = "DURABLE_JOBS"
_NAMES = ("JOBS", *(name.upper() for name in Settings.model_fields))


class DurableJobsConfig(AppConfig):
    """`durable_jobs.contrib.django` in INSTALLED_APPS."""

    name: str = "durable_jobs.contrib.django"
    label: str = "durable_jobs"

    def ready(self) -> None:
        """See base class."""
        for variable, value in variables_of(getattr(settings, _SETTING, {})).items():
            # What the environment of a process says goes first.
            os.environ.setdefault(variable, value)
        # A worker has no requests, with which Django would close connections that have died.
        around_handlers.append(close_old_connections)


def variables_of(setting: Mapping[str, Any]) -> dict[str, str]:
    """The environment variables that the setting DURABLE_JOBS stands for.

    Raises:
        ImproperlyConfigured: a name or a value is none.
    """
    given = {name: value for name, value in setting.items() if value is not None}
    return {_variable(name): _text(name, value) for name, value in given.items()}


def _variable(name: str) -> str:
    if name.startswith("TEMPORAL_"):
        return name
    if name not in _NAMES:
        known = ", ".join(_NAMES)
        raise ImproperlyConfigured(
            f"{_SETTING}: there is no {name!r}. It takes {known}, and TEMPORAL_ variables."
        )
    return f"{_SETTING}_{name}"


def _text(name: str, value: str | dict[str, str] | list[str] | tuple[str, ...]) -> str:
    match value:
        case str():
            return value
        case dict():
            return json.dumps(value)
        case list() | tuple():
            return " ".join(value)
    raise ImproperlyConfigured(f"{_SETTING}: {name} is a text, not {value!r}.")
