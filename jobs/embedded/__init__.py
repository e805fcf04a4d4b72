"""A Temporal server for development and tests: found or started, tuned, stopped again."""

from .errors import EmbeddedServerError
from .server import EmbeddedServer

__all__ = ["EmbeddedServer", "EmbeddedServerError"]
