"""Numbers, sizes and times as a reader wants them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic.records import Diagnosis

_KIBI = 1024
_MINUTE_SECONDS = 60
_MILLISECONDS_BELOW_SECONDS = 1.0


def number(value: float, unit: str = "") -> str:
    """A measured value with four digits and its unit; ratios have none."""
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:  # noqa: PLR2004 - six digits read well
        text = str(int(value))
    else:
        text = f"{value:.4g}"
    return text if unit in ("", "1") else f"{text} {unit}"


def share(value: float) -> str:
    """A share 0..1 as percentage; a share that is not quite all or nothing does not read so."""
    percent = round(100 * value, 1)
    if value not in (0.0, 1.0) and percent in (0.0, 100.0):
        return f"{100 * value:.4g} %"
    return f"{percent:g} %"


def size(count_bytes: float) -> str:
    """A number of bytes in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if count_bytes < _KIBI:
            return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= _KIBI
    return f"{count_bytes:.1f} GiB"


def seconds(value: float) -> str:
    """A length of time."""
    if value < _MILLISECONDS_BELOW_SECONDS:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < _MINUTE_SECONDS else f"{value // 60:.0f} min {value % 60:.0f} s"


def age(moment: datetime | None) -> str:
    """How long ago something was."""
    if moment is None:
        return ""
    elapsed = (datetime.now(UTC) - moment).total_seconds()
    for limit, length, unit in ((60, 1, "s"), (3600, 60, "min"), (86400, 3600, "h")):
        if elapsed < limit:
            return f"{max(0, elapsed) // length:.0f} {unit} ago"
    return f"{elapsed // 86400:.0f} d ago"


def run_time(diagnosis: Diagnosis) -> str:
    """How long the last attempt took; empty if it did not end."""
    if diagnosis.start_time is None or diagnosis.end_time is None:
        return ""
    return seconds((diagnosis.end_time - diagnosis.start_time).total_seconds())
