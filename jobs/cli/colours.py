"""Colours that can be read on light and on dark terminals. Yellow and cyan cannot on light ones."""

from typing import Final

_ORANGE, _TEAL = 130, 30
"""Of the 256 that terminals have."""

ORANGE: Final = f"color({_ORANGE})"
TEAL: Final = f"color({_TEAL})"
"""As rich names them."""

ORANGE_CODE: Final = f"38;5;{_ORANGE}"
TEAL_CODE: Final = f"38;5;{_TEAL}"
"""As terminals do."""
