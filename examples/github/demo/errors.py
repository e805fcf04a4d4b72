"""Why a demonstration failed."""


class DemoError(Exception):
    """The demonstration did not come out as it must; the message is for people."""
