"""How an instance is named."""

from ..arguments import shown
from ..errors import InvalidKey
from ..kinds import KINDS
from .base import Job

MAX_INSTANCE_ID = 240


def instance_id_of(job: type[Job], key: str) -> str:
    """The workflow ID of an instance; raises `InvalidKey`."""
    return checked_id(job.job_type, job.name, key)


def checked_id(job_type: str, name: str, key: object) -> str:
    """The workflow ID of an instance that is named by its parts; raises `InvalidKey`."""
    if not isinstance(key, str) or not key:
        raise InvalidKey(f"{name}: a key is a non-empty text, got {shown(key)}")
    # Of an enum that is a text, it is the text that counts.
    instance_id = f"{job_type}:{name}:{str.__str__(key)}"
    if len(instance_id) > MAX_INSTANCE_ID:
        raise InvalidKey(
            f"{name}: the key makes the instance ID {len(instance_id)} characters long; "
            f"at most {MAX_INSTANCE_ID} characters. Use a shorter key, or a hash of it."
        )
    if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
        raise InvalidKey(f"{name}: the key {shown(key)} is no Unicode text, it holds a surrogate")
    kind = KINDS.get(job_type)
    if kind is not None and not kind.takes_key(key):
        raise InvalidKey(
            f"{name}: the key of a {job_type} instance is {kind.key_meaning}, not {shown(key)}"
        )
    return instance_id
