"""What can go wrong with a server of our own."""

from ..errors import JobsError


class EmbeddedServerError(JobsError):
    """No server could be started or used. Says why, with the end of the server's log."""


class PortTaken(EmbeddedServerError):
    """Something else listens on the port."""
