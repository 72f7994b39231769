"""What the engine knows about operators: which read only shapes, give views, overwrite, saturate, switch off."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

# Give a number or a flag that depends on a tensor's shape and kind, never on its elements.
SHAPE_ONLY = frozenset(
    f"aten::{name}"
    for name in [
        "size",
        "numel",
        "dim",
        "ndimension",
        "stride",
        "storage_offset",
        "len",
        "is_floating_point",
        "is_complex",
        "is_contiguous",
        "is_sparse",
        "is_cuda",
        "is_cpu",
        "get_device",
        "element_size",
        "sym_size",
        "sym_numel",
        "__is__",
        "__isnot__",
        "__contains__",
        "is_same_size",
        "_shape_as_tensor",
        "format",
        "str",
        "warn",
        "requires_grad",
        "output_nr",
        "is_leaf",
        "__len__",
        "result_type",
        "is_signed",
    ]
) | frozenset(
    f"prim::{name}"
    for name in [
        "dtype",
        "device",
        "shape",
        "layout",
        "is_cuda",
        "is_cpu",
        "is_mps",
        "is_xpu",
        "is_sparse",
        "is_quantized",
        "is_meta",
        "is_nested",
        "requires_grad",
        "itemsize",
        "isinstance",
    ]
)

# In-place ops that do not read what they write over.
OVERWRITING = frozenset(
    f"aten::{name}_"
    for name in [
        "copy",
        "fill",
        "zero",
        "normal",
        "uniform",
        "random",
        "bernoulli",
        "exponential",
        "geometric",
        "log_normal",
        "cauchy",
        "set",
        "one_hot",
        "resize",
        "resize_as",
        "swap_axes",
        "detach",
    ]
) - {"aten::swap_axes_", "aten::detach_", "aten::bernoulli_"} | {"aten::zero_", "aten::_foreach_zero_"}

# Arguments that lend only their shape or kind, by position.
SHAPE_ARGUMENTS = {
    f"aten::{name}": 0
    for name in [
        "zeros_like",
        "ones_like",
        "empty_like",
        "full_like",
        "rand_like",
        "randn_like",
        "randint_like",
        "new_zeros",
        "new_ones",
        "new_full",
        "new_empty",
        "new_empty_strided",
    ]
} | {f"aten::{name}": 1 for name in ["expand_as", "view_as", "reshape_as", "type_as", "sum_to_size", "resize_as_"]}

# Views that hold every element of what they are a view of.
FULL_VIEWS = frozenset(
    f"aten::{name}"
    for name in [
        "view",
        "reshape",
        "view_as",
        "reshape_as",
        "flatten",
        "unflatten",
        "squeeze",
        "unsqueeze",
        "transpose",
        "permute",
        "t",
        "numpy_T",
        "mT",
        "contiguous",
        "detach",
        "alias",
        "movedim",
        "moveaxis",
        "swapaxes",
        "swapdims",
        "ravel",
        "to",
        "type_as",
        "float",
        "double",
        "half",
        "bfloat16",
        "cpu",
        "cuda",
        "view_as_real",
        "view_as_complex",
        "resolve_conj",
        "resolve_neg",
        "_reshape_alias",
        "positive",
        "atleast_1d",
        "atleast_2d",
        "atleast_3d",
        "transpose_",
        "squeeze_",
        "unsqueeze_",
        "t_",
        "detach_",
    ]
) | {"prim::data"}


@dataclass(frozen=True, slots=True)
class Schema:
    """The part of an operator's schema that data-flow needs.

    Attributes:
        names: Argument names, in order.
        written: Positions of the arguments that it writes into.
        outputs_only: Positions of written arguments that it does not read (`out=`).
        viewed: For each return, the position of the argument that it may be an alias of, or None.
    """

    names: tuple[str, ...]
    written: tuple[int, ...]
    outputs_only: tuple[int, ...]
    viewed: tuple[int | None, ...]


@lru_cache(maxsize=4096)
def schema(text: str) -> Schema | None:
    """Parses a schema as a node prints it; None for nodes that have none."""
    if text.startswith("("):
        return None
    try:
        parsed = torch._C.parse_schema(text)  # noqa: SLF001  # the only parser of schemas
    except RuntimeError:
        return None
    aliases = [_alias_sets(argument) for argument in parsed.arguments]
    written = tuple(
        i for i, argument in enumerate(parsed.arguments) if argument.alias_info and argument.alias_info.is_write
    )
    return Schema(
        names=tuple(argument.name for argument in parsed.arguments),
        written=written,
        outputs_only=tuple(i for i in written if parsed.arguments[i].name.startswith("out") and i > 0),
        viewed=tuple(
            next((i for i, sets in enumerate(aliases) if sets & _alias_sets(returned)), None)
            for returned in parsed.returns
        ),
    )


def _alias_sets(argument: torch.Argument) -> frozenset[str]:
    alias = argument.alias_info
    return frozenset(alias.before_set) - {"*", "alias::*"} if alias is not None else frozenset()


@dataclass(frozen=True, slots=True)
class Span:
    """Outputs strictly between the two bounds are outside an op's flat region."""

    low: float
    high: float


# A place counts as flat where the local derivative is below this share of the op's largest derivative.
FLAT_DERIVATIVE_SHARE = 0.01
_SIGMOID_EDGE = (1 - math.sqrt(1 - FLAT_DERIVATIVE_SHARE)) / 2  # y(1-y) = share/4
_TANH_EDGE = math.sqrt(1 - FLAT_DERIVATIVE_SHARE)  # 1-y^2 = share
_ERF_EDGE = math.erf(math.sqrt(-math.log(FLAT_DERIVATIVE_SHARE)))  # exp(-x^2) = share

_ATAN_EDGE = math.acos(math.sqrt(FLAT_DERIVATIVE_SHARE))  # cos(y)^2 = share
_SOFTSIGN_EDGE = 1 - math.sqrt(FLAT_DERIVATIVE_SHARE)  # (1-|y|)^2 = share
_SELU_FLOOR = 1.0507 * 1.6733  # below it by nothing else than scale * alpha

_SPANS = {
    "aten::sigmoid": Span(_SIGMOID_EDGE, 1 - _SIGMOID_EDGE),
    "aten::tanh": Span(-_TANH_EDGE, _TANH_EDGE),
    "aten::erf": Span(-_ERF_EDGE, _ERF_EDGE),
    "aten::atan": Span(-_ATAN_EDGE, _ATAN_EDGE),
    "aten::arctan": Span(-_ATAN_EDGE, _ATAN_EDGE),
    "aten::hardsigmoid": Span(0.0, 1.0),
    "aten::relu6": Span(0.0, 6.0),
    "aten::log_sigmoid": Span(-math.inf, -FLAT_DERIVATIVE_SHARE),  # the derivative is 1 - exp(y)
    "aten::softsign": Span(-_SOFTSIGN_EDGE, _SOFTSIGN_EDGE),
    "aten::selu": Span(-_SELU_FLOOR * (1 - FLAT_DERIVATIVE_SHARE), math.inf),
}
# They come down to -alpha.
_FLOORED = frozenset({"aten::elu", "aten::celu"})
# Ops with bounds of their own: the arguments' names, and the bounds where they are not given.
_BOUNDED = {
    "aten::hardtanh": ("min_val", "max_val", -1.0, 1.0),
    "aten::clamp": ("min", "max", -math.inf, math.inf),
    "aten::clip": ("min", "max", -math.inf, math.inf),
    "aten::clamp_max": ("", "max", -math.inf, math.inf),
}


def lively_span(op: str, constants: Mapping[str, object]) -> Span | None:
    """Between which outputs a saturating op still has a derivative; None for ops that do not saturate.

    By output, because the input is gone when the probe sees the op.
    """
    plain = op.removesuffix("_")
    if plain in _FLOORED:
        floor = constants.get("alpha", 1.0)
        return Span(-floor * (1 - FLAT_DERIVATIVE_SHARE), math.inf) if isinstance(floor, (int, float)) else None
    if plain not in _BOUNDED:
        return _SPANS.get(plain)
    lower_name, upper_name, *defaults = _BOUNDED[plain]
    bounds = []
    for name, default in zip((lower_name, upper_name), defaults, strict=True):
        bound = constants.get(str(name))
        bounds.append(default if bound is None else bound)
    lower, upper = bounds
    if not isinstance(lower, (int, float)) or not isinstance(upper, (int, float)):
        return None
    return Span(float(lower), float(upper)) if math.isfinite(lower) or math.isfinite(upper) else None


# How far below zero the output of a smooth rectifier still is where its derivative is below the share above.
_TAILS = {"aten::gelu": 0.003, "aten::silu": 0.0115, "aten::mish": 0.0115, "aten::hardswish": 1e-9}


def off_margin(op: str, constants: Mapping[str, object]) -> float | None:
    """A unit is off whose outputs all lie between this far below zero and zero; None for ops that switch none off.

    ReLU and its like give exactly zero for one half of their inputs; GELU and its like come close to it.
    """
    plain = op.removesuffix("_")
    match plain:
        case "aten::relu" | "aten::relu6":
            switches = True
        case "aten::threshold":
            switches = constants.get("value") == 0
        case "aten::hardtanh":
            switches = constants.get("min_val") == 0
        case "aten::clamp" | "aten::clamp_min" | "aten::clip":
            switches = constants.get("min") == 0
        case _:
            return _TAILS.get(plain)
    return 0.0 if switches else None


# Their gates are never seen as a value, see `hidden_gates`: where input, state and weights stand among the arguments.
GATED: dict[str, tuple[int, int, tuple[int, ...]]] = {
    **{f"aten::{name}": (0, 1, (2,)) for name in ("lstm", "gru", "rnn_tanh")},
    **{f"aten::{name}_cell": (0, 1, (2, 3, 4, 5)) for name in ("lstm", "gru", "rnn_tanh")},
}
GATED_LINEAR_UNIT = "aten::glu"
HIDING_GATES = frozenset({*GATED, GATED_LINEAR_UNIT})
# The weights of an attention are never seen as a value here: query, key, value, mask, dropout, causal, scale.
FUSED_ATTENTION = "aten::scaled_dot_product_attention"

# Hand back their argument itself in some modes, though their schema does not say so.
MAY_RETURN_ARGUMENT = frozenset(
    f"aten::{name}"
    for name in [
        "dropout",
        "alpha_dropout",
        "feature_dropout",
        "feature_alpha_dropout",
        "real",
        "conj",
        "chunk",
        "split",
        "split_with_sizes",
        "unsafe_chunk",
        "unbind",
        "tensor_split",
        "hsplit",
        "vsplit",
        "dsplit",
        "broadcast_tensors",
    ]
)

# Units of what these give are along dimension 1, also in three dimensions.
CHANNELS_FIRST = frozenset(
    f"aten::{name}"
    for name in [
        "conv1d",
        "conv2d",
        "conv3d",
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "_convolution",
        "convolution",
        "batch_norm",
        "instance_norm",
        "group_norm",
        "native_batch_norm",
        "native_group_norm",
        "max_pool1d",
        "avg_pool1d",
        "adaptive_avg_pool1d",
    ]
)
# Units of what these give are along the last dimension.
MAKES_FEATURES_LAST = frozenset(
    f"aten::{name}"
    for name in [
        "linear",
        "matmul",
        "addmm",
        "mm",
        "bmm",
        "baddbmm",
        "layer_norm",
        "embedding",
        "lstm",
        "gru",
        "rnn_tanh",
    ]
)
