"""Signatures as Standard Webhooks describes them (https://www.standardwebhooks.com)."""

import base64
import binascii
import hmac
from collections.abc import Iterable
from hashlib import sha256

_PREFIX = "whsec_"


def signing_key(secret: str) -> bytes:
    """The key inside a `whsec_…` secret.

    Raises `ValueError`, which does not quote the secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not secret.startswith(_PREFIX) or not key:
        raise ValueError(f"the tracking secret must be {_PREFIX!r} followed by base64")
    return key


def message_id(event_ids: Iterable[str]) -> str:
    """An ID of a batch that is the same whenever the same events are sent again."""
    return "msg_" + sha256("\n".join(event_ids).encode("utf-8", "replace")).hexdigest()[:32]


def signed_headers(key: bytes, message: str, sent_at: int, body: bytes) -> dict[str, str]:
    """The three headers for a body sent at `sent_at`, in seconds since 1970."""
    content = f"{message}.{sent_at}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": message,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": f"v1,{signature}",
    }
