"""The collector: takes tracking events, keeps them in SQLite and shows them on a page.

It needs starlette and uvicorn, the extra `collector`; nothing else of the library imports it.
"""

from .server import collecting
from .settings import CollectorSettings

__all__ = ["CollectorSettings", "collecting"]
