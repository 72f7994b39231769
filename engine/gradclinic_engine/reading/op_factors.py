"""What the rules know about products: which arguments of an operator multiply which others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import plain

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site

_BOTH_WAYS: dict[int, tuple[int, ...]] = {0: (1,), 1: (0,)}
# For each operator and position of an argument: the positions of those that its derivative is a multiple of.
FACTORS: dict[str, dict[int, tuple[int, ...]]] = {
    **{
        f"aten::{name}": _BOTH_WAYS
        for name in (
            *("mul", "multiply", "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "ger", "kron"),
            *("linear", "tensordot", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d"),
            *("conv_transpose3d", "convolution", "_convolution", "conv_tbc", "linalg_vecdot"),
        )
    },
    **{f"aten::{name}": {1: (2,), 2: (1,)} for name in ("addmm", "addmv", "addbmm", "baddbmm", "addr", "addcmul")},
    "aten::addcdiv": {2: (1,)},
    "aten::div": {1: (0,)},
    "aten::divide": {1: (0,)},
    "aten::true_divide": {1: (0,)},
    "aten::bilinear": {0: (1, 2), 1: (0, 2), 2: (0, 1)},
    "aten::lerp": {1: (2,)},
    "aten::_weight_norm": {0: (1,)},
    "aten::prelu": {},
    "aten::batch_norm": {0: (1,)},
    "aten::instance_norm": {0: (1,)},
    "aten::layer_norm": {0: (2,)},
    "aten::group_norm": {0: (2,)},
    "aten::rms_norm": {0: (2,), 2: (0,)},
    "aten::scaled_dot_product_attention": {0: (1, 2), 1: (0, 2)},
}
# Products whose second argument (or so) is a weight that maps features, as opposed to a mask or a gate.
MAPPING = frozenset(op for op, pairs in FACTORS.items() if pairs is _BOTH_WAYS or op == "aten::bilinear") - {
    "aten::mul",
    "aten::multiply",
} | {"aten::addmm", "aten::addmv", "aten::addbmm", "aten::baddbmm"}
# Numbers that multiply an argument: the constant's name, the position, and whether zero or one takes all away.
NUMBER_FACTORS: dict[str, tuple[tuple[str, int, float], ...]] = {
    "aten::mul": (("other", 0, 0.0),),
    "aten::multiply": (("other", 0, 0.0),),
    "aten::add": (("alpha", 1, 0.0),),
    "aten::sub": (("alpha", 1, 0.0),),
    "aten::rsub": (("alpha", 0, 0.0),),
    "aten::pow": (("exponent", 0, 0.0),),
    "aten::addcmul": (("value", 1, 0.0), ("value", 2, 0.0)),
    "aten::addcdiv": (("value", 1, 0.0), ("value", 2, 0.0)),
    "aten::lerp": (("weight", 0, 1.0), ("weight", 1, 0.0)),
    **{
        f"aten::{name}": (("beta", 0, 0.0), ("alpha", 1, 0.0), ("alpha", 2, 0.0))
        for name in ("addmm", "addmv", "addbmm", "baddbmm", "addr")
    },
}
DROPOUTS = frozenset(
    f"aten::{name}"
    for name in ("dropout", "native_dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")
)
EINSUM = "aten::einsum"


def positions_of(site: Site, atom: int | str) -> list[int]:
    """The arguments of a site that hold a value."""
    return [position for position, held in enumerate(site.arguments) if atom in held]


def factors_of(site: Site, atom: int | str) -> list[tuple[int | str, ...]]:
    """The arguments that the derivative of a site with respect to one of its operands is a multiple of."""
    op = plain(site.op)
    if op == EINSUM:
        held = next((held for held in site.arguments if atom in held), ())
        return [(other,) for other in held if other != atom]
    pairs = FACTORS.get(op, {})
    return [
        site.arguments[factor]
        for position in positions_of(site, atom)
        for factor in pairs.get(position, ())
        if factor < len(site.arguments) and atom not in site.arguments[factor]
    ]


def number_that_takes_all(site: Site, atom: int | str) -> str:
    """The constant argument that multiplies an operand by zero, as `name=value`; empty if there is none."""
    op = plain(site.op)
    if op in DROPOUTS and site.constants.get("p") == 1 and site.constants.get("train", True):
        return "p=1"
    positions = positions_of(site, atom)
    for name, position, all_gone in NUMBER_FACTORS.get(op, ()):
        value = site.constants.get(name)
        if position in positions and isinstance(value, (int, float)) and value == all_gone:
            return f"{name}={value:g}"
    return ""


def all_factor_groups(site: Site) -> list[tuple[int | str, ...]]:
    """All arguments of a product, any of which makes the whole of it zero."""
    op = plain(site.op)
    if op == EINSUM:
        return [(atom,) for held in site.arguments for atom in held]
    positions = sorted({position for pair in FACTORS.get(op, {}).items() for position in (pair[0], *pair[1])})
    return [site.arguments[position] for position in positions if position < len(site.arguments)]
