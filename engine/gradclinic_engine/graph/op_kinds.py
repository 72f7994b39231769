"""What the rules know about operators: which ones cut, flatten, saturate or can divide by zero."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Site

# The value of the result does not depend on the value of the operand, only on its shape, dtype or device.
SHAPE_ONLY = frozenset(
    f"aten::{name}"
    for name in (
        *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"),
        *("new_zeros", "new_ones", "new_full", "new_empty", "size", "numel", "dim", "len", "sym_size", "arange"),
    )
)
# They hand on a value, and cut it off from the gradient.
DETACHING = frozenset({"aten::detach", "aten::detach_", "aten::data", "prim::data", "aten::detach_copy"})
# They make a new tensor of Python numbers that were read from another one.
REWRAPPING = frozenset({"aten::tensor", "aten::as_tensor", "aten::scalar_tensor", "prim::tolist", "aten::lift_fresh"})
CONSTANT = "prim::Constant"
# Flat at both ends (or, for relu6, at zero and at six), with the largest derivative.
STEEPEST_SLOPE = {
    "aten::sigmoid": 0.25,
    "aten::tanh": 1.0,
    "aten::hardtanh": 1.0,
    "aten::hardsigmoid": 1 / 6,
    "aten::relu6": 1.0,
    "aten::softsign": 1.0,
    "aten::erf": 1.13,
    "aten::arctan": 1.0,
    "aten::atan": 1.0,
    "aten::elu": 1.0,
    "aten::celu": 1.0,
    "aten::selu": 1.76,
}
# Rectifiers that come down to zero smoothly.
SMOOTH_RECTIFIERS = frozenset({"aten::gelu", "aten::silu", "aten::mish", "aten::hardswish"})
# Half of a rectifier's values are flat at the best of times.
HALF_FLAT = frozenset({"aten::relu6"})
# The derivative is zero almost everywhere, and autograd says so instead of raising.
ZERO_DERIVATIVE = frozenset(
    f"aten::{name}"
    for name in (
        *("round", "floor", "ceil", "trunc", "fix", "sign", "sgn", "bernoulli", "heaviside", "special_round"),
        *("normal", "poisson", "copysign"),  # samples without reparametrisation; the sign of the second operand
    )
)
# They cut off what lies outside of bounds.
HARD_LIMITS = frozenset(
    f"aten::{name}"
    for name in ("clamp", "clamp_min", "clamp_max", "clip", "minimum", "maximum", "fmin", "fmax", "threshold")
)
# They put parts of several values together, or choose between them.
SELECTING = frozenset(
    f"aten::{name}"
    for name in (
        *("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "where"),
        *("masked_fill", "masked_scatter", "index_put", "index_fill", "index_copy", "scatter", "slice_scatter"),
        *("select_scatter", "diagonal_scatter", "as_strided_scatter", "_index_put_impl"),
    )
)
# They write constants that the author gave, infinities among them, as masks do.
WRITING_INFINITY = frozenset(
    f"aten::{name}"
    for name in (
        *("masked_fill", "where", "full", "full_like", "new_full", "fill", "scalar_tensor", "tensor", "lift_fresh"),
        *("index_fill", "index_put", "masked_scatter", "scatter", "copy", "triu", "tril"),
    )
) | {CONSTANT}
# They have a point where the derivative is infinite or 0/0 while the value is finite.
SINGULAR_BACKWARD = frozenset(
    (
        *("sqrt", "rsqrt", "norm", "linalg_vector_norm", "linalg_norm", "linalg_matrix_norm", "frobenius_norm"),
        *("pow", "std", "std_mean", "acos", "asin", "arccos", "arcsin", "acosh", "atanh", "atan2", "hypot", "log"),
        *("log2", "log10", "log1p", "logit", "div", "true_divide", "reciprocal", "cdist", "pairwise_distance"),
        *("cosine_similarity", "prod", "cumprod", "renorm", "xlogy", "dist", "linalg_svd", "linalg_eigh"),
        *("logsumexp", "erfinv", "var", "exp"),
    )
)


@lru_cache(maxsize=4096)
def plain(op: str) -> str:
    """The operator without the trailing underscore of its in-place spelling."""
    return op[:-1] if op.endswith("_") and not op.endswith("__") else op


def activation_of(site: Site) -> str:
    """The operator that a site is or, together with those before it, amounts to."""
    return site.acts_as or plain(site.op)


def limits(site: Site) -> bool:
    """Whether a site cuts off what lies beyond a bound: a number, or another tensor."""
    if site.acts_as:
        return False
    op = plain(site.op)
    if op in ("aten::min", "aten::max"):  # of two tensors; else they reduce one
        return len(site.arguments) > 1 and bool(site.arguments[1]) and "dim" not in site.constants
    return op in HARD_LIMITS


def rectifies(site: Site) -> bool:
    """Whether a site gives zero, with no derivative, for inputs below zero, and the input itself above."""
    match activation_of(site):
        case "aten::relu" | "aten::maximum":
            return True
        case "aten::threshold":
            return site.constants.get("value") == 0
        case "aten::clamp_min" | "aten::clamp" | "aten::clip":
            return site.constants.get("min") == 0 and site.constants.get("max") is None
        case _:
            return False


def has_zero_derivative(site: Site) -> bool:
    """Whether a site's derivative is zero almost everywhere."""
    if plain(site.op) in ("aten::div", "aten::divide"):
        return site.constants.get("rounding_mode") in ("floor", "trunc")
    return plain(site.op) in ZERO_DERIVATIVE
