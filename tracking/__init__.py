"""Tracking events: their models, the outbox, the courier, the sinks.

An event is born in an activity or a workflow, waits in the workflow's outbox and leaves in batches.
"""

from .config import Tracking
from .events import (
    DebounceFlushed,
    DebounceStarted,
    JobEvent,
    JobExecuted,
    JobFailed,
    JobPaused,
    JobResumed,
    JobRetryExhausted,
    JobStarted,
    JobTerminated,
    TaskScheduled,
    parse_event,
)
from .sinks.base import Sink
from .sinks.http import HttpSink
from .sinks.memory import MemorySink, NoopSink

__all__ = [
    "DebounceFlushed",
    "DebounceStarted",
    "HttpSink",
    "JobEvent",
    "JobExecuted",
    "JobFailed",
    "JobPaused",
    "JobResumed",
    "JobRetryExhausted",
    "JobStarted",
    "JobTerminated",
    "MemorySink",
    "NoopSink",
    "Sink",
    "TaskScheduled",
    "Tracking",
    "parse_event",
]
