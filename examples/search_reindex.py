"""Puts a document into the search index once, when a burst of edits is over."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from pydantic import BaseModel

from durable_jobs import DebounceJob, DebounceRun, JobClient


class Document(BaseModel):
    """A document as an edit left it."""

    version: int
    title: str


class Reindex(DebounceJob[Document]):
    name = "reindex"
    quiet_for = timedelta(seconds=2)  # the burst is over
    flush_after = timedelta(seconds=10)  # an editor who never stops is still found
    timeout = timedelta(seconds=30)

    def __init__(self, put: Callable[[str, Document], Awaitable[None]]) -> None:
        self._put = put

    def reduce(self, state: Document | None, event: Document) -> Document:
        # Edits of two web servers may come out of order.
        return event if state is None or event.version > state.version else state

    async def execute(self, run: DebounceRun[Document]) -> None:
        await self._put(run.key, run.state)


async def saved(jobs: JobClient, document_id: str, document: Document) -> None:
    """Call this after each commit of an edit."""
    await jobs.debounce(Reindex, document_id).add(document)


class Index:
    """A search index in memory. As the real ones do, it refuses a version older than its own."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}

    async def put(self, document_id: str, document: Document) -> None:
        """Store a document, unless a newer one is there."""
        known = self.documents.get(document_id)
        if known is None or document.version > known.version:
            self.documents[document_id] = document
            print(f"indexed {document_id}: version {document.version}, {document.title!r}")


jobs = [Reindex(Index().put)]
