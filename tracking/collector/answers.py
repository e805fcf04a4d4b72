"""Answers in JSON."""

import json
from typing import Any

from starlette.responses import Response


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    """A response. A text is JSON already; other values become JSON in ASCII."""
    content = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
    given = {"Cache-Control": "no-store", **(headers or {})}
    return Response(content, status, given, media_type="application/json")
