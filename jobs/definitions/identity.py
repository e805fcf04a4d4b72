"""How an instance is named."""

from ..errors import InvalidKey
from .base import Job

MAX_INSTANCE_ID = 240


def instance_id_of(job: type[Job], key: str) -> str:
    """The workflow ID of an instance; raises `InvalidKey`."""
    if not isinstance(key, str) or not key:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidKey(f"{job.name}: a key is a non-empty string, got {key!r}")
    instance_id = f"{job.job_type}:{job.name}:{key}"
    if len(instance_id) > MAX_INSTANCE_ID:
        raise InvalidKey(
            f"{job.name}: the key makes the instance ID {len(instance_id)} characters long; "
            f"at most {MAX_INSTANCE_ID}. Use a shorter key, or a hash of it."
        )
    if not key.isascii() and any("\ud800" <= character <= "\udfff" for character in key):
        raise InvalidKey(f"{job.name}: the key {key!r} is no Unicode text, it holds a surrogate")
    return instance_id
