"""What floating-point formats can hold, and where a value or a gradient did not fit into the narrow ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Pole
from gradclinic_engine.graph.site_ops import is_constant, op_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Culprit, Site
    from gradclinic_engine.reading.paths import Paths


@dataclass(frozen=True, slots=True)
class Format:
    """A floating-point format."""

    largest: float
    smallest: float  # the smallest number above zero


FORMATS = {
    "float64": Format(1.797e308, 2.0**-1074),
    "float32": Format(3.4028e38, 2.0**-149),
    "bfloat16": Format(3.389e38, 2.0**-133),
    "float16": Format(65504.0, 2.0**-24),
    "float8_e5m2": Format(57344.0, 2.0**-16),
    "float8_e4m3fn": Format(448.0, 2.0**-9),
}
# Formats whose range is so narrow that ordinary values leave it; bfloat16 has the range of float32.
NARROW = frozenset({"float16", "float8_e5m2", "float8_e4m3fn"})
LARGEST_EXPONENT_OF_FLOAT32 = 88.7


def overflowed(paths: Paths, site: Site) -> bool:
    """Whether the first non-finite value of ``site`` is none in float32: it, or a small epsilon, did not fit."""
    if site.dtype not in NARROW or site.culprit is None:
        return False
    if _lost_epsilon(paths, site):
        return True
    values = site.culprit.operand_values
    if math.isnan(site.culprit.value):
        return False
    op = op_of(site)
    if op.pole is not Pole.NONE:
        return bool(values) and values[-1] != 0 and op.pole is not Pole.SLOW
    if op.is_exponential:
        reached = [operand.activation.max for operand in paths.operands(site) if operand.activation]
        highest = values[0] if values else max(reached, default=0.0)
        return highest <= LARGEST_EXPONENT_OF_FLOAT32
    return True


def overflowed_backward(maker: Site | None, culprit: Culprit | None) -> bool:
    """Whether the gradient that ``maker`` hands on became infinite for want of range and not at a singular point."""
    return (
        maker is not None
        and maker.dtype in NARROW
        and culprit is not None
        and math.isinf(culprit.value)
        and not op_of(maker).is_singular
    )


def _lost_epsilon(paths: Paths, site: Site) -> bool:
    """Whether a constant that was to keep an operand away from zero is rounded to zero in this format."""
    op = op_of(site)
    if op.pole is Pole.NONE and op.formula not in {Formula.SQUARE_ROOT, Formula.POWER}:
        return False
    least = FORMATS[site.dtype].smallest / 2
    for operand in paths.operands(site):
        keeper = op_of(operand)
        if keeper.formula not in {Formula.ADD, Formula.LARGER} and not keeper.bounds[0]:
            continue
        constants = [operand.constants.get(name) for name in ("other", "min")]
        constants += [s.activation.max for s in paths.operands(operand) if is_constant(s) and s.activation]
        if any(isinstance(value, (int, float)) and 0 < value <= least for value in constants):
            return True
    return False
