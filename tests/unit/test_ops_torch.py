"""The rows of the operator table against torch itself: what can be computed is computed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Growth, Kind, Op, Pole

if TYPE_CHECKING:
    from collections.abc import Callable

CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
# Operators of graphs alone, of other builds of torch, and what operators written by hand amount to.
NOT_REGISTERED = frozenset({"prim::Constant", "prim::isinstance", "aten::softsign"})
GRID = torch.linspace(-12.0, 12.0, 2401, dtype=torch.float64)
# Arguments beside the tensors that these do not run without.
ARGUMENTS: dict[str, tuple[object, ...]] = {
    "clamp": (-1.0, 1.0),
    "clip": (-1.0, 1.0),
    "clamp_min": (0.0,),
    "clamp_max": (0.0,),
    "threshold": (0.5, 0.0),
    "mvlgamma": (1,),
    "polygamma": (1,),
    "isin": (1.0,),
    "bucketize": ([0.0, 1.0],),
}
REGISTERED = {schema.name for schema in torch._C._jit_get_all_schemas()}  # noqa: SLF001 - the only list there is


def is_there(op: Op) -> bool:
    """Whether this version of torch has it."""
    return not {op.name, f"{op.name}_"}.isdisjoint(REGISTERED) or op.name in NOT_REGISTERED


def operator(op: Op) -> Callable[..., object]:
    return getattr(torch.ops.aten, op.name.removeprefix("aten::"))


def call(op: Op, *tensors: torch.Tensor) -> torch.Tensor:
    """The operator of one tensor, with what else it needs, else of two equal ones."""
    name = op.name.removeprefix("aten::")
    extra = [torch.tensor(each) if isinstance(each, list) else each for each in ARGUMENTS.get(name, ())]
    if name == "softsign":
        return torch.nn.functional.softsign(tensors[0])
    result = operator(op)(*tensors, *extra)
    assert isinstance(result, torch.Tensor)
    return result


def of_one_tensor(op: Op) -> bool:
    """Whether one tensor of floating-point numbers is enough for it."""
    try:
        call(op, torch.rand(3, dtype=torch.float64))
    except (RuntimeError, TypeError, AttributeError, AssertionError, ValueError, NotImplementedError):
        return False
    return True


def rows_of(condition: Callable[[Op], bool]) -> list[object]:
    return [pytest.param(op, id=op.name) for op in ops.ROWS if is_there(op) and condition(op)]


def gradient(op: Op, at: torch.Tensor) -> torch.Tensor:
    x = at.clone().requires_grad_()
    (found,) = torch.autograd.grad(call(op, x).sum(), x)
    return found


def test_torch_has_each_operator() -> None:
    pinned = re.search(r"^torch==(\S+)", CONSTRAINTS.read_text(), re.MULTILINE)
    if pinned is None or not torch.__version__.startswith(pinned[1]):
        pytest.skip("another version of torch may lack some")
    assert [] == [op.name for op in ops.ROWS if not is_there(op)]


def test_in_place_names_of_torch_find_the_row_of_the_other() -> None:
    known = {op.name for op in ops.ROWS}
    twins = [name for name in REGISTERED if name.endswith("_") and not name.endswith("__") and name[:-1] in known]
    assert len(twins) > 100
    assert [] == [name for name in twins if not ops.of(name).is_known or not ops.of(name).is_in_place]


@pytest.mark.parametrize("op", rows_of(lambda op: op.is_elementwise and of_one_tensor(op)))
def test_elements_do_not_see_each_other(op: Op) -> None:
    torch.manual_seed(0)
    x = torch.rand(4, 5, dtype=torch.float64)
    changed = x.clone()
    changed[1, 2] = 0.987
    one, other = call(op, x), call(op, changed)
    assert one.shape == x.shape
    same = (one == other) | (one.isnan() & other.isnan()) if one.is_floating_point() else one == other
    assert [] == [place for place in (~same).nonzero().tolist() if place != [1, 2]]


@pytest.mark.parametrize("op", rows_of(lambda op: op.has_zero_derivative and op.kind is Kind.ROUNDING))
def test_a_zero_derivative_is_zero(op: Op) -> None:
    at = GRID + 1e-3
    if op.name == "aten::heaviside":
        with pytest.raises(RuntimeError, match="not implemented"):
            torch.autograd.grad(torch.heaviside(x := at.clone().requires_grad_(), x).sum(), x)
        return
    assert 0 == gradient(op, at).count_nonzero()


def with_span(op: Op) -> bool:
    return op.span is not None and op.kind is not Kind.LIMIT


@pytest.mark.parametrize("op", rows_of(with_span))
def test_outputs_outside_the_span_are_flat_and_those_inside_are_not(op: Op) -> None:
    span = ops.lively_span(op, {})
    assert span is not None
    # Far out the grid is coarse, near the edge fine: rounding decides on neither.
    outputs, slopes = call(op, GRID), gradient(op, GRID)
    steepest = float(slopes.max())
    is_flat = (outputs <= span.low) | (outputs >= span.high)
    assert is_flat.any()
    assert float(slopes[is_flat].max()) <= 0.0101 * steepest
    assert float(slopes[~is_flat].min()) >= 0.0099 * steepest


@pytest.mark.parametrize("op", rows_of(lambda op: op.steepest_slope is not None))
def test_the_steepest_slope_is_that_of_autograd(op: Op) -> None:
    assert float(gradient(op, GRID + 1e-4).max()) == pytest.approx(op.steepest_slope, rel=0.02)


@pytest.mark.parametrize("op", rows_of(lambda op: op.off_margin is not None and not op.off_when_zero))
def test_units_that_are_off_have_no_slope(op: Op) -> None:
    assert op.off_margin is not None
    below = GRID[GRID < -4]  # of the smooth ones everything further up passes something
    outputs, slopes = call(op, below), gradient(op, below)
    is_off = (outputs <= 0) & (outputs >= -op.off_margin)
    assert is_off.any()
    assert float(slopes[is_off].abs().max()) <= 0.0121


@pytest.mark.parametrize("op", rows_of(lambda op: op.range != (-math.inf, math.inf) and of_one_tensor(op)))
def test_values_lie_in_the_range(op: Op) -> None:
    low, high = op.range
    outputs = call(op, GRID)
    assert low - 0.01 <= float(outputs.min())
    assert float(outputs.max()) <= high + 0.01


@pytest.mark.parametrize("op", rows_of(lambda op: op.growth is Growth.DISTANCE and op.is_elementwise))
def test_a_distance_has_no_bound_on_either_side(op: Op) -> None:
    assert [True, True] == [float(call(op, torch.tensor([at], dtype=torch.float64))) > 99 for at in (-1e3, 1e3)]


@pytest.mark.parametrize("op", rows_of(lambda op: op.pole is not Pole.NONE and of_one_tensor(op)))
def test_a_pole_is_infinite(op: Op) -> None:
    candidates = torch.tensor([0.0, 1.0, -1.0, math.pi / 2], dtype=torch.float64)
    assert bool((call(op, candidates).abs() > 1e15).any())


@pytest.mark.parametrize("op", rows_of(lambda op: op.is_singular and op.is_elementwise and of_one_tensor(op)))
def test_a_singular_derivative_is_infinite_somewhere(op: Op) -> None:
    if op.is_exponential:
        pytest.skip("it overflows")
    candidates = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    assert not gradient(op, candidates).isfinite().all()


@pytest.mark.parametrize("op", rows_of(lambda op: op.shape_arguments == (0,)))
def test_only_the_shape_of_the_first_argument_counts(op: Op) -> None:
    name = op.name.removeprefix("aten::")
    extra = {"full_like": (2.0,), "new_full": ((2,), 2.0), "randint_like": (5,), "new_empty_strided": ((2,), (1,))}
    sizes: tuple[object, ...] = ((2,),) if name.startswith("new_") else ()
    found = []
    for fill in (0.0, 7.0):
        torch.manual_seed(0)
        found.append(operator(op)(torch.full((2,), fill), *extra.get(name, sizes)))
    one, other = found
    assert isinstance(one, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert op.is_uninitialized or torch.equal(one, other)


@pytest.mark.parametrize("op", rows_of(lambda op: op.overwrites and f"{op.name}_" in REGISTERED))
def test_what_is_written_over_is_not_read(op: Op) -> None:
    name = op.name.removeprefix("aten::")
    extra: dict[str, tuple[object, ...]] = {
        "fill": (3.0,),
        "copy": (torch.arange(4.0),),
        "set": (torch.arange(4.0),),
        "geometric": (0.5,),
    }
    found = []
    for fill in (0.25, 0.75):
        torch.manual_seed(0)
        written = torch.full((4,), fill)
        getattr(torch.ops.aten, f"{name}_")(written, *extra.get(name, ()))
        found.append(written)
    assert torch.equal(*found)


KEEPING_ALL_OF = {
    "reshape_as": (torch.empty(6),),
    "view_as": (torch.empty(6),),
    "resize_as": (torch.empty(6),),
    "view": ([6],),
    "reshape": ([6],),
    "resize": ([6],),
    "_reshape_alias": ([6], [1]),
    "_unsafe_view": ([6],),
    "unflatten": (1, [3, 1]),
    "transpose": (0, 1),
    "swapaxes": (0, 1),
    "swapdims": (0, 1),
    "permute": ([1, 0],),
    "movedim": (0, 1),
    "moveaxis": (0, 1),
    "unsqueeze": (0,),
    "to": (torch.float64,),
    "type_as": (torch.empty(1),),
}
ELSEWHERE = frozenset({"cuda", "data", "view_as_complex", "view_as_real"})  # other devices, attributes, numbers


def keeps_all(op: Op) -> bool:
    return op.keeps_all and op.name.startswith("aten::") and op.name.removeprefix("aten::") not in ELSEWHERE


@pytest.mark.parametrize("op", rows_of(keeps_all))
def test_each_element_is_kept_once(op: Op) -> None:
    name = op.name.removeprefix("aten::")
    if name.startswith("_autocast"):
        pytest.skip("it is TorchScript's alone")
    given = torch.arange(6.0).reshape(2, 3)
    result = operator(op)(given, *KEEPING_ALL_OF.get(name, ()))
    assert isinstance(result, torch.Tensor)
    assert given.flatten().tolist() == sorted(result.float().flatten().tolist())


@pytest.mark.parametrize("op", rows_of(lambda op: op.factors == {0: (1,), 1: (0,)}))
def test_a_factor_that_is_zero_takes_the_gradient_of_the_other(op: Op) -> None:
    name = op.name.removeprefix("aten::")
    shapes = {
        **dict.fromkeys(("mv",), ((3, 3), (3,))),
        **dict.fromkeys(("dot", "vdot", "inner", "outer", "ger", "linalg_vecdot"), ((3,), (3,))),
        "bmm": ((2, 3, 3), (2, 3, 3)),
        "conv_tbc": ((3, 2, 3), (2, 3, 3)),
        **{f"conv{d}d": ((1, 1) + (3,) * d, (1, 1) + (2,) * d) for d in (1, 2, 3)},
        **{f"conv_transpose{d}d": ((1, 1) + (3,) * d, (1, 1) + (2,) * d) for d in (1, 2, 3)},
    }
    if name in {"convolution", "_convolution", "_convolution_mode", "tensordot"}:
        pytest.skip("the same as another, with more arguments")
    if name == "linear":
        shapes[name] = ((3, 3), (3, 3))
    first, second = (torch.rand(shape) for shape in shapes.get(name, ((3, 3), (3, 3))))
    for zeroed in (0, 1):
        operands = [first.clone(), second.clone()]
        operands[zeroed].zero_()
        other = operands[1 - zeroed].requires_grad_()
        bias = (torch.zeros(3),) if name == "conv_tbc" else ()
        result = operator(op)(*operands, *bias)
        assert isinstance(result, torch.Tensor)
        (found,) = torch.autograd.grad(result.sum(), other)
        assert 0 == found.count_nonzero()
