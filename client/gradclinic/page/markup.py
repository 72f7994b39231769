"""HTML that cannot be broken out of: text is escaped unless it was made here."""

from __future__ import annotations

import html
import json
from typing import Any

from gradclinic.plain_text import safe

_VOID = frozenset({"input", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | bool | None) -> Markup:
    """An element. Children that are no Markup are text; None is left out.

    Attribute names lose a trailing underscore, and further ones become hyphens; True is an
    attribute without value, None and False are none.
    """
    tag = name + "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{tag}>")
    return Markup(f"<{tag}>{fragment(*children)}</{name}>")


def fragment(*children: str | None) -> Markup:
    """Several nodes side by side."""
    return Markup(
        "".join(child if isinstance(child, Markup) else text(child) for child in children if child is not None)
    )


def text(content: str, *, lines: bool = False) -> Markup:
    """Text with markup escaped and control characters made visible; ``lines`` keeps line breaks."""
    return Markup(html.escape(safe(content, lines=lines)))


def prose(content: str) -> Markup:
    """A sentence in which `words between backticks` are code."""
    parts = content.split("`")
    if len(parts) % 2 == 0:
        return text(content)
    return fragment(*(element("code", part) if place % 2 else part for place, part in enumerate(parts)))


def json_block(identifier: str, content: Any) -> Markup:
    """A script element that holds JSON and is never executed, whatever the strings in it say."""
    written = json.dumps(content, allow_nan=False, separators=(",", ":"))  # ASCII: also U+2028 is an escape
    for character in "<>&":
        written = written.replace(character, f"\\u{ord(character):04x}")
    return Markup(f'<script type="application/json" id="{html.escape(identifier)}">{written}</script>')


def _attribute(key: str, value: str | bool | None) -> str:  # noqa: FBT001 - HTML has attributes without a value
    if value is None or value is False:
        return ""
    name = key.removesuffix("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{text(value)}"'
