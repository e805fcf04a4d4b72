"""What the options of definitions are checked for, whichever they are."""

from .errors import DefinitionError
from .spans import is_span


def is_whole(value: object) -> bool:
    """Whether a value is a whole number, which True is not, and one that JSON holds anywhere."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53


def check_span(job: str, option: str, value: object, *, or_none: bool = False) -> None:
    """Raise `DefinitionError` where an option is no positive span of at most ten years."""
    if value is None and or_none:
        return
    if not is_span(value):
        none = ", or None" if or_none else ""
        raise DefinitionError(
            f"{job}: {option} is a positive timedelta of at most 10 years{none}; it is {value!r}"
        )
