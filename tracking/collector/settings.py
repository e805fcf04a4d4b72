"""What a collector is told when it starts."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from ..sinks.signing import signing_key
from .hosts import is_name


def signing_keys(secrets: str) -> list[bytes]:
    """The keys of one or more secrets. Raises ValueError, which quotes none."""
    return [signing_key(secret) for secret in secrets.split()]


@dataclass(frozen=True)
class CollectorSettings:
    """Where events are kept, and who may send them. Raises ValueError where a value is wrong."""

    database: Path
    """The SQLite file; it is made where there is none."""

    token: str | None = field(default=None, repr=False)
    """Senders must give it as a bearer token."""

    secret: str | None = field(default=None, repr=False)
    """`whsec_…`: requests must be signed with it, as Standard Webhooks says.

    Several, with spaces between them, while senders change from one to another.
    """

    erase_token: str | None = field(default=None, repr=False)
    """Whoever erases an instance must give it as a bearer token; without one nobody can."""

    retention: timedelta | None = None
    """Older events are deleted, by the time they came; None keeps all."""

    names: tuple[str, ...] = ()
    """Host names under which it is reached, beside addresses and `localhost`."""

    temporal_ui: str | None = None
    """The address of Temporal's UI; with `/namespaces/NAME` where that is not `default`."""

    def __post_init__(self) -> None:
        # Given but empty is a variable that was not set, and no wish to let everybody send.
        _check_given(self.token, "the token is empty; leave it out if anybody may send")
        _check_given(self.secret, "the secret is empty; leave it out if requests need no signature")
        _check_given(self.erase_token, "the erase token is empty; leave it out if nobody may erase")
        if self.erase_token is not None and self.erase_token == self.token:
            raise ValueError("the erase token must be another one than the token of senders")
        if self.secret is not None:
            signing_keys(self.secret)
        for name in self.names:
            if not is_name(name):
                raise ValueError(
                    f"the name {name!r} must be a host's alone, such as jobs.example.com,"
                    " without https:// and without a port"
                )
        if self.temporal_ui and urlsplit(self.temporal_ui).scheme not in {"http", "https"}:
            raise ValueError(f"the Temporal UI {self.temporal_ui!r} must be an http(s) address")

    @property
    def workflows_url(self) -> str | None:
        """The address of a namespace's workflows in Temporal's UI."""
        if not self.temporal_ui:
            return None
        address = self.temporal_ui.rstrip("/")
        namespace = "" if "/namespaces/" in address else "/namespaces/default"
        return f"{address}{namespace}/workflows/"


def _check_given(value: str | None, problem: str) -> None:
    if value is not None and not value.strip():
        raise ValueError(problem)
