"""What the SDK makes us work around. Each entry says what goes wrong and where it was seen.

`tests/test_sdk_workarounds.py` shows each fault on a bare worker, and fails once it is gone.
"""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from temporalio.common import RawValue

_Method = TypeVar("_Method", bound=Callable[..., Any])


def raw_start(method: _Method) -> _Method:
    """Has a workflow's start argument come as the payload it was sent as.

    What goes wrong: a workflow that is started with too many arguments, or with one that cannot be
    decoded, fails its task again and again instead of failing with words. A method of any number
    of arguments would take them, but the SDK decodes those first. Seen with 1.35.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    start = inspect.Parameter("start", kind, annotation=RawValue)
    method.__annotations__["start"] = RawValue
    declared = inspect.Signature([inspect.Parameter("self", kind), start])
    setattr(method, "__signature__", declared)  # noqa: B010 - pyright knows no such attribute
    return method
