"""What the receiver shows: one page for people, the same as JSON."""

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from .page import CONTENT_SECURITY_POLICY, render
from .replies import SAFE, reply
from .store import Store

_HEADERS = {**SAFE, "Content-Security-Policy": CONTENT_SECURITY_POLICY}


class Views:
    """The views, which only read. Plain functions: they run in a thread, SQLite may take time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def index(self, _: Request) -> Response:
        """`/`: everything, to read."""
        store = self._store
        page = render(
            digests=store.digests(30),
            health=store.health(),
            threads=store.threads(100),
            notes=store.notes(20),
        )
        return HTMLResponse(page, headers=_HEADERS)

    def digests(self, _: Request) -> Response:
        """`/api/digests`: the latest digests, the newest first."""
        return reply({"digests": [_data(record) for record in self._store.digests()]})

    def health(self, _: Request) -> Response:
        """`/api/health`: how each repository stands."""
        found = self._store.health()
        return reply({"repositories": {key: _data(record) for key, record in found.items()}})

    def threads(self, _: Request) -> Response:
        """`/api/threads`: the threads, and what their jobs did lately."""
        threads = [_data(record) for record in self._store.threads()]
        return reply({"threads": threads, "notes": [_data(note) for note in self._store.notes()]})

    def healthz(self, _: Request) -> Response:
        """`/healthz`: whether the store answers; whether the jobs do shows with each delivery."""
        self._store.seen("")
        return reply({"status": "ok"})


def _data(record: BaseModel) -> dict[str, object]:
    return record.model_dump(mode="json")
