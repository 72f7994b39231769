"""How near to one-hot the rows of a softmax are, and whether they have a right to be so because of a mask."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod, sqrt
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Squash
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.reading.zero_stops import gets_gradient

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site, Statistics
    from gradclinic_engine.reading.paths import Paths

SOFT_ENOUGH = 0.03
# What is left of rows of four and more where all else is exactly zero: one entry, and here and there an equal one.
MOST_LEFT, FEWEST_ENTRIES = 1.5, 4
_ALL_BUT_GONE = 1e-4
_WIDE_SCORES = 10.0
_MASKING = frozenset({Formula.ADD, Formula.SUBTRACT, Formula.FILL, Formula.CHOICE})
_MASKS_FOLLOWED = 4


@dataclass(frozen=True, slots=True)
class OneHot:
    """A softmax that is one-hot by itself.

    Attributes:
        softness: Mean over the rows of 1 - sum of squared probabilities.
        scores: The logits before any mask, where they were measured.
    """

    softness: float
    scores: Statistics | None

    @property
    def deviation(self) -> float:
        """Standard deviation of the logits; 0 where they are not known."""
        return sqrt(max(self.scores.rms**2 - self.scores.mean**2, 0.0)) if self.scores else 0.0


def one_hot(paths: Paths, site: Site) -> OneHot | None:
    """What there is to say of a site that is a one-hot softmax; None for all others."""
    softness = _softness(site)
    if softness is None or not site.requires_grad or not gets_gradient(site):
        return None
    if softness >= SOFT_ENOUGH and not _has_one_left(site):
        return None
    scores, is_masked = _before_masks(paths, site)
    found = OneHot(softness, scores)
    return found if not is_masked or found.deviation > _WIDE_SCORES else None


def _softness(site: Site) -> float | None:
    """Mean over the rows of 1 - sum of squared probabilities; None where it is not known, or rows have one element."""
    entries = _entries(site)
    if site.softness is not None or entries < 2:  # noqa: PLR2004 - a choice
        return site.softness
    output = site.activation
    if output is None or output.nonfinite_count or output.element_count != site.calls * prod(site.shape):
        return None
    softness = 1 - output.rms**2 * entries
    return max(0.0, softness) if softness > -_ALL_BUT_GONE else None


def _has_one_left(site: Site) -> bool:
    """Whether hardly more than one entry of a row is above zero: then ties alone make it look soft."""
    entries = _entries(site)
    share = site.activation.zero_share if site.activation and site.softness is None else 0.0
    return entries >= FEWEST_ENTRIES and entries * (1 - share) <= MOST_LEFT


def _entries(site: Site) -> int:
    """Length of a softmax's rows; 0 where it is none, or that is not known."""
    dimension = site.constants.get("dim")
    if op_of(site).squash is not Squash.SOFTMAX or not isinstance(dimension, int):
        return 0
    return site.shape[dimension] if -len(site.shape) <= dimension < len(site.shape) else 0


def _before_masks(paths: Paths, softmax: Site) -> tuple[Statistics | None, bool]:
    """The scores before anything fixed was added to them or put in their place, and whether that was so."""
    if softmax.softness is not None:  # masked keys were left out when it was measured
        return None, False
    held, is_masked = softmax.arguments[:1], False
    for _ in range(_MASKS_FOLLOWED):
        atoms = [paths.base(atom) for group in held for atom in group]
        learnt = [a for a in atoms if isinstance(a, int) and a in paths.sites and paths.sites[a].requires_grad]
        if len(learnt) != 1:
            return None, is_masked
        site = paths.sites[learnt[0]]
        fixed_operands = [each for group in site.arguments for each in group if each not in _learnt(paths, site)]
        if op_of(site).formula not in _MASKING or not fixed_operands:
            return site.activation, is_masked
        held, is_masked = site.arguments, True
    return None, is_masked


def _learnt(paths: Paths, site: Site) -> set[int | str]:
    atoms = {atom for group in site.arguments for atom in group}
    return {
        atom
        for atom in atoms
        if (atom in paths.sites and paths.sites[atom].requires_grad if isinstance(atom, int) else "parameter:" in atom)
    }
