"""Operators that treat each element by itself: arithmetic, functions, activations, limits, rounding, comparison."""

from __future__ import annotations

import math

from gradclinic_engine.graph.op import Formula, Growth, Kind, Pole, Span, Squash
from gradclinic_engine.graph.rows import rows

_INF = math.inf
BOTH_WAYS = {0: (1,), 1: (0,)}
# A place counts as flat where the local derivative is below this share of the op's largest derivative.
FLAT_DERIVATIVE_SHARE = 0.01
_SIGMOID_EDGE = (1 - math.sqrt(1 - FLAT_DERIVATIVE_SHARE)) / 2  # y(1-y) = share/4
_TANH_EDGE = math.sqrt(1 - FLAT_DERIVATIVE_SHARE)  # 1-y^2 = share
_ERF_EDGE = math.erf(math.sqrt(-math.log(FLAT_DERIVATIVE_SHARE)))  # exp(-x^2) = share
_ATAN_EDGE = math.acos(math.sqrt(FLAT_DERIVATIVE_SHARE))  # cos(y)^2 = share
_SOFTSIGN_EDGE = 1 - math.sqrt(FLAT_DERIVATIVE_SHARE)  # (1-|y|)^2 = share
_SELU_FLOOR = 1.0507 * 1.6733  # below it by nothing else than scale * alpha
SIGMOID_SPAN = Span(_SIGMOID_EDGE, 1 - _SIGMOID_EDGE)
TANH_SPAN = Span(-_TANH_EDGE, _TANH_EDGE)
_EVERYWHERE = Span(-_INF, _INF)

_ARITHMETIC = (
    *rows("add", Kind.ARITHMETIC, formula=Formula.ADD, broadcasts=True, number_factors=(("alpha", 1, 0.0),)),
    *rows(
        "sub subtract", Kind.ARITHMETIC, formula=Formula.SUBTRACT, broadcasts=True, number_factors=(("alpha", 1, 0.0),)
    ),
    *rows("rsub", Kind.ARITHMETIC, formula=Formula.SUBTRACT_FROM, broadcasts=True, number_factors=(("alpha", 0, 0.0),)),
    *rows(
        "mul multiply",
        Kind.ARITHMETIC,
        formula=Formula.MULTIPLY,
        broadcasts=True,
        factors=BOTH_WAYS,
        number_factors=(("other", 0, 0.0),),
    ),
    *rows(
        "div true_divide divide",
        Kind.ARITHMETIC,
        formula=Formula.DIVIDE,
        broadcasts=True,
        factors={1: (0,)},
        is_singular=True,
        pole=Pole.STEEP,
    ),
    *rows("floor_divide", Kind.ROUNDING, formula=Formula.FLOOR_DIVIDE, broadcasts=True),
    *rows("remainder fmod", Kind.ARITHMETIC, broadcasts=True),
    *rows(
        "pow",
        Kind.ARITHMETIC,
        formula=Formula.POWER,
        broadcasts=True,
        is_singular=True,
        number_factors=(("exponent", 0, 0.0),),
    ),
    *rows("float_power", Kind.ARITHMETIC, broadcasts=True),
    *rows("neg negative", Kind.ARITHMETIC, formula=Formula.NEGATE),
    *rows("reciprocal", Kind.ARITHMETIC, formula=Formula.RECIPROCAL, is_singular=True, pole=Pole.STEEP),
    *rows("square", Kind.ARITHMETIC, formula=Formula.SQUARE, range=(0.0, _INF), growth=Growth.DISTANCE),
    *rows(
        "abs absolute",
        Kind.ARITHMETIC,
        formula=Formula.ABSOLUTE,
        is_piecewise_linear=True,
        range=(0.0, _INF),
        growth=Growth.DISTANCE,
    ),
    *rows(
        "addcmul",
        Kind.ARITHMETIC,
        factors={1: (2,), 2: (1,)},
        number_factors=(("value", 1, 0.0), ("value", 2, 0.0)),
    ),
    *rows("addcdiv", Kind.ARITHMETIC, factors={2: (1,)}, number_factors=(("value", 1, 0.0), ("value", 2, 0.0))),
    *rows("lerp", Kind.ARITHMETIC, factors={1: (2,)}, number_factors=(("weight", 0, 1.0), ("weight", 1, 0.0))),
    *rows("bitwise_left_shift bitwise_right_shift __lshift__ __rshift__ ldexp gcd lcm", Kind.ARITHMETIC),
)
_FUNCTIONS = (
    *rows("sqrt", Kind.FUNCTION, formula=Formula.SQUARE_ROOT, is_singular=True),
    *rows("rsqrt", Kind.FUNCTION, is_singular=True, pole=Pole.STEEP),
    *rows("exp", Kind.FUNCTION, formula=Formula.EXPONENTIAL, is_singular=True, is_exponential=True, range=(0.0, _INF)),
    *rows("expm1 special_expm1 sinh cosh", Kind.FUNCTION, is_steep=True, is_exponential=True),
    *rows("exp2 special_exp2", Kind.FUNCTION),
    *rows("log", Kind.FUNCTION, formula=Formula.LOGARITHM, is_singular=True, pole=Pole.SLOW, gives_logarithm=True),
    *rows(
        "log2 log10 log1p special_log1p logit special_logit xlogy special_xlogy",
        Kind.FUNCTION,
        is_singular=True,
        pole=Pole.SLOW,
    ),
    *rows("atanh arctanh erfinv special_erfinv", Kind.FUNCTION, is_singular=True, pole=Pole.STEEP),
    *rows("acos arccos", Kind.FUNCTION, formula=Formula.ARCCOSINE, is_singular=True),
    *rows("asin arcsin", Kind.FUNCTION, formula=Formula.ARCSINE, is_singular=True),
    *rows("acosh arccosh atan2 arctan2 hypot", Kind.FUNCTION, is_singular=True),
    *rows(
        "tan digamma special_digamma special_psi lgamma special_gammaln", Kind.FUNCTION, is_steep=True, pole=Pole.STEEP
    ),
    *rows("logaddexp", Kind.FUNCTION, gives_logarithm=True),
    *rows(
        "logaddexp2 asinh arcsinh erfc special_erfc sinc special_sinc i0 special_i0 special_i1 polygamma", Kind.FUNCTION
    ),
    *rows(
        "special_i0e special_i1e special_ndtr special_ndtri special_log_ndtr special_entr mvlgamma frac", Kind.FUNCTION
    ),
    *rows("sin cos", Kind.FUNCTION, is_periodic=True, range=(-1.0, 1.0)),
    *rows("rad2deg deg2rad", Kind.FUNCTION),
    *rows("copysign", Kind.FUNCTION, has_zero_derivative=True),  # of the second operand only its sign
)
_ACTIVATIONS = (
    *rows(
        "relu",
        Kind.ACTIVATION,
        formula=Formula.RECTIFIER,
        is_piecewise_linear=True,
        off_margin=0.0,
        range=(0.0, _INF),
    ),
    *rows("leaky_relu rrelu", Kind.ACTIVATION, is_piecewise_linear=True, halves=True),
    *rows("prelu _prelu_kernel hardshrink softshrink", Kind.ACTIVATION, is_piecewise_linear=True),
    # Below zero by less than the margin their derivative is below the share above.
    *rows("gelu", Kind.ACTIVATION, off_margin=0.003, halves=True, range=(-0.17, _INF)),
    *rows("silu", Kind.ACTIVATION, off_margin=0.0115, halves=True, range=(-0.28, _INF)),
    *rows("mish", Kind.ACTIVATION, off_margin=0.0115, halves=True, range=(-0.31, _INF)),
    *rows("hardswish", Kind.ACTIVATION, off_margin=1e-9, range=(-0.375, _INF)),
    *rows("softplus", Kind.ACTIVATION, growth=Growth.HINGE, range=(0.0, _INF)),
    *rows("elu", Kind.ACTIVATION, span=_EVERYWHERE, floor="alpha", steepest_slope=1.0, halves=True, range=(-1.0, _INF)),
    *rows("celu", Kind.ACTIVATION, span=_EVERYWHERE, floor="alpha", steepest_slope=1.0, range=(-1.0, _INF)),
    *rows(
        "selu",
        Kind.ACTIVATION,
        span=Span(-_SELU_FLOOR * (1 - FLAT_DERIVATIVE_SHARE), _INF),
        steepest_slope=1.76,
        range=(-1.76, _INF),
    ),
    *rows(
        "sigmoid special_expit",
        Kind.ACTIVATION,
        span=SIGMOID_SPAN,
        steepest_slope=0.25,
        squash=Squash.SIGMOID,
        range=(0.0, 1.0),
    ),
    *rows(
        "hardsigmoid",
        Kind.ACTIVATION,
        is_piecewise_linear=True,
        span=Span(0.0, 1.0),
        steepest_slope=1 / 6,
        has_corners=True,
        squash=Squash.SIGMOID,
        range=(0.0, 1.0),
    ),
    *rows(
        "log_sigmoid",
        Kind.ACTIVATION,
        span=Span(-_INF, -FLAT_DERIVATIVE_SHARE),  # the derivative is 1 - exp(y)
        squash=Squash.LOG_SIGMOID,
        growth=Growth.SINKING,
        gives_logarithm=True,
        range=(-_INF, 0.0),
    ),
    *rows("tanh", Kind.ACTIVATION, span=TANH_SPAN, steepest_slope=1.0, range=(-1.0, 1.0)),
    *rows(
        "softsign",  # no operator of torch: what `x / (1 + abs(x))` amounts to
        Kind.ACTIVATION,
        formula=Formula.SOFTSIGN,
        span=Span(-_SOFTSIGN_EDGE, _SOFTSIGN_EDGE),
        steepest_slope=1.0,
        range=(-1.0, 1.0),
    ),
    *rows("erf special_erf", Kind.ACTIVATION, span=Span(-_ERF_EDGE, _ERF_EDGE), steepest_slope=1.13),
    *rows("atan arctan", Kind.ACTIVATION, span=Span(-_ATAN_EDGE, _ATAN_EDGE), steepest_slope=1.0),
    *rows(
        "relu6",
        Kind.ACTIVATION,
        is_piecewise_linear=True,
        span=Span(0.0, 6.0),
        off_margin=0.0,
        steepest_slope=1.0,
        has_corners=True,
        range=(0.0, 6.0),
    ),
    *rows(
        "hardtanh",
        Kind.ACTIVATION,
        is_piecewise_linear=True,
        span=Span(-1.0, 1.0),
        bounds=("min_val", "max_val"),
        off_margin=0.0,
        off_when_zero="min_val",
        steepest_slope=1.0,
        has_corners=True,
    ),
)
_LIMITS = (
    *rows(
        "clamp clip",
        Kind.LIMIT,
        is_piecewise_linear=True,
        span=_EVERYWHERE,
        bounds=("min", "max"),
        off_margin=0.0,
        off_when_zero="min",
        has_ties=True,
    ),
    *rows("clamp_max", Kind.LIMIT, is_piecewise_linear=True, span=_EVERYWHERE, bounds=("", "max"), has_ties=True),
    *rows(
        "clamp_min",
        Kind.LIMIT,
        is_piecewise_linear=True,
        bounds=("min", ""),
        off_margin=0.0,
        off_when_zero="min",
        has_ties=True,
    ),
    *rows("threshold", Kind.LIMIT, is_piecewise_linear=True, off_margin=0.0, off_when_zero="value", range=(0.0, _INF)),
    *rows("maximum fmax", Kind.LIMIT, formula=Formula.LARGER, is_piecewise_linear=True, broadcasts=True, has_ties=True),
    *rows("minimum fmin", Kind.LIMIT, is_piecewise_linear=True, broadcasts=True, has_ties=True),
    *rows("nan_to_num", Kind.FUNCTION, formula=Formula.REPAIR),
)
_FLAGS = (
    *rows("round special_round floor ceil trunc fix sign sgn heaviside", Kind.ROUNDING, has_zero_derivative=True),
    *rows("gt greater ge greater_equal", Kind.COMPARISON, formula=Formula.ABOVE, broadcasts=True),
    *rows("lt less le less_equal", Kind.COMPARISON, formula=Formula.BELOW, broadcasts=True),
    *rows("eq ne not_equal isclose", Kind.COMPARISON, broadcasts=True),
    *rows("isnan isinf isfinite isposinf isneginf isreal signbit isin bucketize", Kind.COMPARISON),
    *rows("logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor", Kind.COMPARISON),
    *rows("bitwise_not __and__ __or__ __xor__ __not__", Kind.COMPARISON),
)
ROWS = (*_ARITHMETIC, *_FUNCTIONS, *_ACTIVATIONS, *_LIMITS, *_FLAGS)
