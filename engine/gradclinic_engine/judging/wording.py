"""Small pieces of English for explanations."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED_AT_MOST = 4


def listed(names: Sequence[str]) -> str:
    """`a, b and c`, or `a, b, c, d and 12 more`."""
    shown = list(names[:NAMED_AT_MOST])
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def share(value: float) -> str:
    """A share as a percentage: `93 %`, `99.98 %`, `100 %`."""
    percent = 100 * value
    is_near_an_end = 0 < min(percent, 100 - percent) < 1
    return f"{percent:.4g} %" if is_near_an_end else f"{percent:.0f} %"


def number(value: float) -> str:
    """A number with three significant digits."""
    return f"{value:.3g}"
