"""Erases at the collector what Temporal has no more of."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .reach import FAILED, WRONG_INPUT, Trouble

TOKEN_VARIABLE: Final = "DURABLE_JOBS_COLLECTOR_ERASE_TOKEN"
_AT_ONCE: Final = 1_000
_WAIT: Final = 600.0
"""Seconds. The collector writes its file anew, at some 16 s a gigabyte."""


@dataclass(frozen=True)
class CollectorEraser:
    """A collector, and the token that lets it erase."""

    collector: str
    token: str

    @classmethod
    def checked(cls, collector: str, token: str | None) -> "CollectorEraser":
        """One that can be asked; raises `Trouble` before anything is erased."""
        if not collector.startswith(("http://", "https://")):
            raise Trouble("--collector is an address such as http://127.0.0.1:4000", WRONG_INPUT)
        if not token:
            raise Trouble(
                f"nothing was erased: put the collector's --erase-token into {TOKEN_VARIABLE}, or "
                "leave out --collector",
                WRONG_INPUT,
            )
        return cls(collector.rstrip("/"), token)

    def erase(self, instances: Sequence[str]) -> int:
        """Erase them; gives the number of their events. Raises `Trouble`."""
        return sum(
            each["events"]
            for start in range(0, len(instances), _AT_ONCE)
            for each in self._ask(instances[start : start + _AT_ONCE])
        )

    def _ask(self, instances: Sequence[str]) -> Iterator[dict[str, Any]]:
        request = urllib.request.Request(
            f"{self.collector}/api/erase",
            json.dumps({"instanceIds": list(instances)}).encode(),
            {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=_WAIT) as answer:
                yield from json.load(answer)["erasures"]
        except urllib.error.HTTPError as error:
            raise self._trouble(_words_of(error)) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._trouble(str(error)) from error

    def _trouble(self, why: str) -> Trouble:
        return Trouble(
            f"the collector at {self.collector} erased nothing: {why}. Give the command again: "
            "it does the rest",
            FAILED,
        )


def _words_of(error: urllib.error.HTTPError) -> str:
    try:
        return f"{error.code}, {json.load(error)['error']}"
    except (ValueError, KeyError, TypeError):
        return str(error)
