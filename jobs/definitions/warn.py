"""Warnings that are said once per process."""

import logging

_logger = logging.getLogger("durable_jobs")
_said: set[str] = set()


def warn_once(message: str) -> None:
    """Log a warning; the same job's next one of the kind is not logged again."""
    topic = message.split(" has ")[0]
    if topic not in _said:
        _said.add(topic)
        _logger.warning("%s", message)
