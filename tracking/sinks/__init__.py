"""Where tracking events go: HTTP, memory, nowhere."""

from .base import Accepted, Misconfigured, Refused, RetryLater, SendResult, Sink, TooLarge
from .http import HttpSink
from .memory import MemorySink, NoopSink

__all__ = [
    "Accepted",
    "HttpSink",
    "MemorySink",
    "Misconfigured",
    "NoopSink",
    "Refused",
    "RetryLater",
    "SendResult",
    "Sink",
    "TooLarge",
]
