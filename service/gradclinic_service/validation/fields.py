"""Checks of single fields that several requests share."""

from __future__ import annotations

import difflib
import re
import uuid
from typing import TYPE_CHECKING, Protocol

from gradclinic_service.errors import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


MAX_LABELS = 32
MAX_LABEL_CHARACTERS = 128
MAX_RUN_CHARACTERS = 128
MAX_ID_CHARACTERS = 128
_SHOWN_CHARACTERS = 80

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UUID_VERSION = 4


class EnumType(Protocol):
    """An enum of the contract."""

    def items(self) -> Sequence[tuple[str, int]]:
        """Its names and numbers."""

    def values(self) -> Sequence[int]:
        """Its numbers."""


def shown(value: object) -> str:
    """A value as an error message quotes it: bounded, so that no error grows with its input."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"


def sha256_violations(field: str, value: str, *, if_empty: str = "") -> Iterator[Violation]:
    """A SHA-256 is 64 lower-case hexadecimal digits; ``if_empty`` says what to do where it must not be empty."""
    if not value:
        if if_empty:
            yield Violation(field, f"is empty; {if_empty}")
        return
    if _SHA256.fullmatch(value):
        return
    if _SHA256.fullmatch(value.strip().lower()):
        yield Violation(field, f"{shown(value)} has upper-case letters or spaces; send it in lower case")
    else:
        yield Violation(field, f"{shown(value)} is not a SHA-256; send 64 lower-case hexadecimal digits")


def request_id_violations(field: str, value: str) -> Iterator[Violation]:
    """A request id is a UUID4 in its usual form, or empty."""
    if not value:
        return
    try:
        parsed = uuid.UUID(value)
    except ValueError:
        yield Violation(field, f"{shown(value)} is not a UUID; make one with uuid.uuid4()")
        return
    if parsed.version != _UUID_VERSION:
        yield Violation(field, f"{shown(value)} is no UUID4, so it may not be unique; make one with uuid.uuid4()")
    elif str(parsed) != value:
        yield Violation(field, f"{shown(value)} is not in the usual form; send {parsed}")


def id_violations(field: str, value: str) -> Iterator[Violation]:
    """An id is what CreateDiagnosis answered with."""
    if not value:
        yield Violation(field, "is empty; send the id that CreateDiagnosis or ListDiagnoses answered with")
    elif len(value) > MAX_ID_CHARACTERS:
        yield Violation(field, f"has {len(value)} characters; no id has more than {MAX_ID_CHARACTERS}")


def label_violations(field: str, labels: Mapping[str, str]) -> Iterator[Violation]:
    """Labels are few and short."""
    if len(labels) > MAX_LABELS:
        yield Violation(field, f"has {len(labels)} labels; send at most {MAX_LABELS}")
        return
    for key, value in sorted(labels.items()):
        if not key:
            yield Violation(field, f"has an empty key (for the value {shown(value)}); give it a name")
        for part, text in (("key", key), ("value", value)):
            if len(text) > MAX_LABEL_CHARACTERS:
                where = f"{field}[{shown(key)}]"
                yield Violation(where, f"its {part} has {len(text)} characters; send at most {MAX_LABEL_CHARACTERS}")


def text_violations(field: str, value: str, most_characters: int) -> Iterator[Violation]:
    """A text is no longer than it may be, and can be printed on one line."""
    if len(value) > most_characters:
        yield Violation(field, f"has {len(value)} characters; send at most {most_characters}")
    elif not value.isprintable():
        yield Violation(field, f"{shown(value)} has characters that cannot be printed; leave them out")


def enum_violations(field: str, value: int, enum: EnumType, *, required: bool = False) -> Iterator[Violation]:
    """An enum has one of the values this server knows; a newer client may know more."""
    known = ", ".join(name for name, number in enum.items() if number)
    if required and value == 0:
        yield Violation(field, f"is not set; send one of {known}")
    elif value not in enum.values():
        yield Violation(field, f"{value} is not known to this server; send one of {known}")


def near(name: str, known: Mapping[str, object] | tuple[str, ...]) -> str:
    """The known names, those like ``name`` first and said to be so."""
    close = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known are: " + ", ".join(known)
