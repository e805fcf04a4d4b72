"""Ports that commands listen on, and words for one that cannot be had."""

import errno
import os


class CannotListen(OSError):
    """A port cannot be listened on. The message names it and the option for another one."""

    def __init__(self, host: str, port: int, option: str, error: OSError) -> None:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        other = f"choose another port with {option} (0: any free one)"
        if error.errno == errno.EADDRINUSE:
            message = f"{address} is in use: stop what listens there, or {other}"
        else:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"cannot listen on {address} ({reason}): {other}"
        super().__init__(message)
