"""Normalisations over one element: their result is constant, whatever they are given."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.measurements import Site
    from gradclinic_engine.reading.paths import Paths

_SOFTMAXES = frozenset(f"aten::{name}" for name in ("softmax", "log_softmax", "_softmax", "_log_softmax", "softmin"))
# Of one element each of these gives that element, or its size: what is divided by it or lies above it is constant.
_REDUCTIONS = frozenset(
    f"aten::{name}"
    for name in (
        *("mean", "sum", "amax", "amin", "max", "min", "median", "norm", "linalg_vector_norm", "linalg_norm"),
        *("frobenius_norm", "logsumexp", "nansum", "nanmean"),
    )
)
_BUILT_IN = _SOFTMAXES | {f"aten::{name}" for name in ("layer_norm", "rms_norm", "group_norm", "instance_norm")}
# What may stand between the statistic and its use: it keeps every element apart.
_PASSING = frozenset(
    f"aten::{name}"
    for name in ("add", "clamp", "clamp_min", "maximum", "sqrt", "abs", "expand", "expand_as", "unsqueeze", "view")
) | {"aten::pow", "aten::reshape", "aten::square", "aten::to", "aten::detach"}
_PASSED_AT_MOST = 6
_BATCH_AND_CHANNELS = 2


def normalises_one_element(paths: Paths, site: Site) -> str:
    """Over what, in words, if a site normalises over a single element; else empty."""
    op, shape = plain(site.op), site.shape
    if not shape:
        return ""
    if op in ("aten::sub", "aten::div", "aten::divide", "aten::true_divide"):
        return _by_hand(paths, site)
    if op == "aten::scaled_dot_product_attention":
        return "one key" if _keys(paths, site) == 1 else ""
    return _built_in(site, op, shape) if op in _BUILT_IN else ""


def _built_in(site: Site, op: str, shape: tuple[int, ...]) -> str:
    spatial = prod(shape[_BATCH_AND_CHANNELS:])
    if op in _SOFTMAXES:
        dimension = site.constants.get("dim")
        if isinstance(dimension, int) and -len(shape) <= dimension < len(shape) and shape[dimension] == 1:
            return f"dimension {dimension} of shape {list(shape)}"
    if op in ("aten::layer_norm", "aten::rms_norm") and _size(site.constants.get("normalized_shape")) == 1:
        return f"the last of the dimensions of shape {list(shape)}"
    groups = site.constants.get("num_groups")
    if op == "aten::group_norm" and isinstance(groups, int) and groups and shape[1] // groups * spatial == 1:
        return f"one channel of one position, with {groups} groups for shape {list(shape)}"
    if op == "aten::instance_norm" and spatial == 1 and site.constants.get("use_input_stats", True):
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
        if plain(before.op) in _REDUCTIONS and _is_of_one_element(paths, before, own):
            return f"the one element over which `{before.op}` reduces shape {list(site.shape)}"
        if plain(before.op) not in _PASSING or not before.arguments:
            return ""
        atoms = before.arguments[0]
    return ""


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
        if not isinstance(at, int) or at not in paths.sites or plain(paths.sites[at].op) not in _PASSING:
            return False
        held = paths.sites[at].arguments
        if not held or len(held[0]) != 1:
            return False
        operand = held[0][0]
    return False
