"""Headers that a user has sent along: checked before anything is sent."""

import re
from collections.abc import Mapping

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# These say how a request is framed and carried, which only who carries it can say.
_FRAMING = frozenset(
    {
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with their names in lower case.

    Raises `ValueError`, which names the header and does not quote its value.
    """
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _is_text(name, _NAME):
            raise ValueError(f"{name!r} is no name of an HTTP header")
        lower = name.lower()
        if lower in checked:
            raise ValueError(f"the header {name!r} is named twice")
        if lower in _FRAMING:
            raise ValueError(f"the header {name!r} is not yours to set: it frames the request")
        _check_value(name, value)
        checked[lower] = value
    return checked


def _check_value(name: str, value: str) -> None:
    if not _is_text(value, _VALUE):
        raise ValueError(f"the value of the header {name!r} is not printable ASCII")
    if value != value.strip():
        raise ValueError(f"the value of the header {name!r} begins or ends with a space")


def _is_text(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None
