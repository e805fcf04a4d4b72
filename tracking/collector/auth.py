"""Who may send events."""

import hmac
import time
from collections.abc import Mapping

from ..sinks.signing import signed_headers, signing_key
from .settings import CollectorSettings

_TOLERANCE = 300  # seconds; an older request may be a replayed one


class Guard:
    """Judges a request by its bearer token and signature, where these are configured."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._token = settings.token
        self._key = signing_key(settings.secret) if settings.secret is not None else None

    def token_problem(self, headers: Mapping[str, str]) -> str | None:
        """What is wrong with the token, to be asked before the body is read."""
        if self._token is None:
            return None
        given = headers.get("authorization", "").encode()
        right = hmac.compare_digest(given, f"Bearer {self._token}".encode())
        return None if right else "the bearer token is missing or wrong"

    def signature_problem(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """What is wrong with the signature."""
        if self._key is None:
            return None
        message, sent_at = headers.get("webhook-id"), headers.get("webhook-timestamp", "")
        if not message or not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 15):
            return "the request is not signed"
        if abs(time.time() - int(sent_at)) > _TOLERANCE:
            return "the signature's time is more than 5 minutes off; compare the clocks"
        expected = signed_headers(self._key, message, int(sent_at), body)["webhook-signature"]
        given = headers.get("webhook-signature", "").split()
        if not any(hmac.compare_digest(one.encode(), expected.encode()) for one in given):
            return "the signature is wrong"
        return None
