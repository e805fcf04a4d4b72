"""What the receiver shows: one page for people, the same as JSON."""

from collections.abc import Mapping

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from .page import CONTENT_SECURITY_POLICY, render
from .store import Store

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Views:
    """The endpoints that only read. Plain functions: they run in a thread, SQLite may take time."""

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
        return _json({"digests": [_data(record) for record in self._store.digests()]})

    def health(self, _: Request) -> Response:
        """`/api/health`: how each repository stands."""
        found = self._store.health()
        return _json({"repositories": {key: _data(record) for key, record in found.items()}})

    def threads(self, _: Request) -> Response:
        """`/api/threads`: the threads, and what their jobs did lately."""
        threads = [_data(record) for record in self._store.threads()]
        return _json({"threads": threads, "notes": [_data(note) for note in self._store.notes()]})

    def healthz(self, _: Request) -> Response:
        """`/healthz`: whether the store answers; whether the jobs do shows with each delivery."""
        self._store.seen("")
        return _json({"status": "ok"})


def _data(record: BaseModel) -> dict[str, object]:
    return record.model_dump(mode="json")


def _json(content: Mapping[str, object]) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})
