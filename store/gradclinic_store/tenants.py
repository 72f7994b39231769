"""What a tenant is called: its name tells keys apart, so it holds nothing that keys are made with."""

from __future__ import annotations

import re

DEFAULT_TENANT = "default"
"""Who calls where nobody has to say who they are."""
PATTERN = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def checked(name: str) -> str:
    """Return the name.

    Raises:
        ValueError: it is none.
    """
    if not PATTERN.fullmatch(name):
        raise ValueError(
            f"{name!r} is no tenant's name; write at most 63 lower-case letters, digits and hyphens, "
            "with a letter or digit at both ends"
        )
    return name
