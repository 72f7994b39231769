"""Normalisations over one element: their result is constant, whatever they are given."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Kind, Norm, Reduction
from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

# Of one element each of these gives that element, or its size: what is divided by it or lies above it is constant.
_REDUCTIONS = frozenset({Reduction.TOTAL, Reduction.EXTREME, Reduction.SIZE, Reduction.LOG_SUM})
_POWERS = frozenset({Formula.ADD, Formula.POWER, Formula.SQUARE, Formula.SQUARE_ROOT, Formula.ABSOLUTE})
_PASSED_AT_MOST = 6
_BATCH_AND_CHANNELS = 2


def normalises_one_element(paths: Paths, site: Site) -> str:
    """Over what, in words, if a site normalises over a single element; else empty."""
    op, shape = op_of(site), site.shape
    if not shape:
        return ""
    if op.formula in {Formula.SUBTRACT, Formula.DIVIDE}:
        return _by_hand(paths, site)
    if op.kind is Kind.ATTENTION:
        return "one key" if _keys(paths, site) == 1 else ""
    return _built_in(site, op, shape)


def _built_in(site: Site, op: Op, shape: tuple[int, ...]) -> str:
    spatial = prod(shape[_BATCH_AND_CHANNELS:])
    if op.kind is Kind.SOFTMAX:
        dimension = site.constants.get("dim")
        if isinstance(dimension, int) and -len(shape) <= dimension < len(shape) and shape[dimension] == 1:
            return f"dimension {dimension} of shape {list(shape)}"
    if op.norm in {Norm.LAYER, Norm.RMS} and _size(site.constants.get("normalized_shape")) == 1:
        return f"the last of the dimensions of shape {list(shape)}"
    groups = site.constants.get("num_groups")
    if op.norm is Norm.GROUP and isinstance(groups, int) and groups and shape[1] // groups * spatial == 1:
        return f"one channel of one position, with {groups} groups for shape {list(shape)}"
    if op.norm is Norm.INSTANCE and spatial == 1 and site.constants.get("use_input_stats", True):
        return f"one position of shape {list(shape)}"
    return ""


def _size(sizes: object) -> int:
    return prod(sizes) if isinstance(sizes, (tuple, list)) and all(isinstance(each, int) for each in sizes) else 0


def _keys(paths: Paths, site: Site) -> int:
    """How many keys an attention has."""
    held = site.arguments[1] if len(site.arguments) > 1 else ()
    keys = [paths.sites[atom].shape for atom in held if isinstance(atom, int) and atom in paths.sites]
    return keys[0][-2] if keys and len(keys[0]) > 1 else 0


def _by_hand(paths: Paths, site: Site) -> str:
    """A value from which its own mean over one element is taken, or that is divided by its own sum or norm."""
    if len(site.arguments) < 2 or len(site.arguments[0]) != 1:  # noqa: PLR2004 - two operands
        return ""
    own = paths.base(site.arguments[0][0])
    atoms: Sequence[int | str] = site.arguments[1]
    for _ in range(_PASSED_AT_MOST):
        if len(atoms) != 1 or not isinstance(atoms[0], int) or atoms[0] not in paths.sites:
            return ""
        before = paths.sites[atoms[0]]
        if op_of(before).reduction in _REDUCTIONS and _is_of_one_element(paths, before, own):
            return f"the one element over which `{before.op}` reduces shape {list(site.shape)}"
        if not _keeps_apart(op_of(before)) or not before.arguments:
            return ""
        atoms = before.arguments[0]
    return ""


def _keeps_apart(op: Op) -> bool:
    """Whether it may stand between the statistic and its use: it keeps every element apart."""
    return op.keeps_all or op.kind in {Kind.EXPANSION, Kind.LIMIT} or op.formula in _POWERS


def _is_of_one_element(paths: Paths, reduction: Site, own: int | str) -> bool:
    """Whether a reduction of ``own`` (or of its square) leaves as many elements as there were."""
    operand = reduction.arguments[0][0] if reduction.arguments and len(reduction.arguments[0]) == 1 else None
    if operand is None or "dim" not in reduction.constants or reduction.constants["dim"] in (None, ()):
        return False
    for _ in range(_PASSED_AT_MOST):
        at = paths.base(operand)
        if at == own:
            left, given = reduction.activation, paths.lasting.get(str(at))
            if isinstance(at, int) and at in paths.sites:
                given = paths.sites[at].activation
            return given is not None and left is not None and 0 < given.element_count == left.element_count
        if not isinstance(at, int) or at not in paths.sites or not _keeps_apart(op_of(paths.sites[at])):
            return False
        held = paths.sites[at].arguments
        if not held or len(held[0]) != 1:
            return False
        operand = held[0][0]
    return False
