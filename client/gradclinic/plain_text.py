"""Text from models and servers made safe for a terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

_UNSEEN_CATEGORIES: Final = {
    "Cc",  # control characters: escape sequences begin with one
    "Cf",  # format characters: they reverse the direction of text
    "Cs",  # lone surrogates cannot be printed
    "Zl",
    "Zp",
}


def safe(text: str, *, lines: bool = False) -> str:
    r"""The text with control and format characters made visible, as in `\x1b`; ``lines`` keeps line breaks."""
    return "".join(_seen(character, lines=lines) for character in text)


def _seen(character: str, *, lines: bool) -> str:
    if character == "\n" and lines:
        return character
    if character == "\t":
        return "    "
    if unicodedata.category(character) in _UNSEEN_CATEGORIES:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character
