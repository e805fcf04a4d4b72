"""Who may send events, and who may erase them."""

import hmac
import time
from collections.abc import Mapping

from ..sinks.signing import signed_headers
from .settings import CollectorSettings, signing_keys

_TOLERANCE = 300  # seconds; an older request may be a replayed one


class Guard:
    """Judges a request by its bearer token and its signature, where these are configured."""

    def __init__(self, settings: CollectorSettings) -> None:
        self._token = settings.token
        self._erase_token = settings.erase_token
        self._keys = signing_keys(settings.secret) if settings.secret is not None else []

    def token_problem(self, headers: Mapping[str, str]) -> str | None:
        """What is wrong with the token, to be asked before the body is read."""
        if self._token is None or _bears(headers, self._token):
            return None
        return "the bearer token is missing or wrong"

    @property
    def may_erase(self) -> bool:
        """Whether anybody may erase."""
        return self._erase_token is not None

    def erase_problem(self, headers: Mapping[str, str]) -> str | None:
        """What is wrong with the token of whoever wants to erase."""
        if self._erase_token is not None and _bears(headers, self._erase_token):
            return None
        return "the bearer token for erasing is missing or wrong"

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


def _bears(headers: Mapping[str, str], token: str) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    # Its case does not matter: RFC 9110, 11.1.
    return (
        hmac.compare_digest(given.strip().encode(), token.encode()) and scheme.lower() == "bearer"
    )
