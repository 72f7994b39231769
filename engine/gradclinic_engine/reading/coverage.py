"""Which operators of a run have no row in the operator table, so that no rule knows what they do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements

MOST_NAMED = 20


def without_row(measurements: Measurements) -> tuple[tuple[str, str], ...]:
    """One entry of `Measurements.unobserved` that names and counts them; none where every operator has a row."""
    whole = measurements.with_loss or measurements
    counts = Counter(site.op for site in whole.sites if site.calls and not site.output and not op_of(site).is_known)
    if not counts:
        return ()
    named = [f"`{name}` ({count})" for name, count in counts.most_common(MOST_NAMED)]
    rest = [f"{len(counts) - MOST_NAMED} more"] if len(counts) > MOST_NAMED else []
    why = f"The rules do not know what these do (number of places in brackets): {', '.join([*named, *rest])}."
    return (("operators", why),)
