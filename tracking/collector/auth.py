"""Who may send events."""

import hmac
import time
from collections.abc import Mapping

from ..sinks.signing import signed_headers
from .settings import CollectorSettings, signing_keys

_TOLERANCE = 300  # seconds; an older request may be a replayed one


class Guard:
    """Judges a request by its bearer token and signature, where these are configured."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._token = settings.token
        self._keys = signing_keys(settings.secret) if settings.secret is not None else []

    def token_problem(self, headers: Mapping[str, str]) -> str | None:
        """What is wrong with the token, to be asked before the body is read."""
        if self._token is None:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Its case does not matter: RFC 9110, 11.1.
        same = hmac.compare_digest(given.strip().encode(), self._token.encode())
        right = same and scheme.lower() == "bearer"
        return None if right else "the bearer token is missing or wrong"

    def signature_problem(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """What is wrong with the signature."""
        if not self._keys:
            return None
        message, sent_at = headers.get("webhook-id"), headers.get("webhook-timestamp", "")
        if not message or not (sent_at.isascii() and sent_at.isdigit() and len(sent_at) < 15):
            return "the request is not signed"
        if abs(time.time() - int(sent_at)) > _TOLERANCE:
            return "the signature's time is more than 5 minutes off; compare the clocks"
        given = headers.get("webhook-signature", "").split()
        for key in self._keys:
            expected = signed_headers(key, message, int(sent_at), body)["webhook-signature"]
            if any(hmac.compare_digest(one.encode(), expected.encode()) for one in given):
                return None
        return "the signature is wrong"
