"""Where a gradient turns to exactly zero, and what is to blame, on small runs written by hand."""

import pytest

from gradclinic_engine.measurements import Measurements
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.reading.zero_causes import Why, zero_causes
from gradclinic_engine.reading.zero_origins import Kind, is_zero, zero_origin
from gradclinic_engine.reading.zero_stops import zero_stops
from rules.tiny_run import TinyRun, statistics


def stops(run: Measurements) -> list[tuple[int, int | str, tuple[str, ...]]]:
    return [(stop.site.index, stop.operand, stop.parameters) for stop in zero_stops(Paths(run))]


def causes(run: Measurements) -> list[tuple[Why, int, list[str]]]:
    return [(cause.why, cause.site.index, cause.parameters) for cause in zero_causes(Paths(run), *Why)]


def test_nothing_stops_where_everything_flows() -> None:
    run = TinyRun()
    body = run.op("aten::linear", "x", weights=["body.weight"])
    assert [] == stops(run.finish(run.op("aten::round", body)))


def test_the_stop_nearest_to_the_loss_stands_for_all_before_it() -> None:
    run = TinyRun()
    first = run.op("aten::linear", "x", weights=["first.weight"], gradient=0.0)
    inner = run.op("aten::sign", first, gradient=0.0)
    second = run.op("aten::linear", inner, weights=["second.weight"], gradient=0.0)
    outer = run.op("aten::sign", second)
    measured = run.finish(run.op("aten::linear", outer, weights=["head.weight"]))
    assert [(outer, second, ("first.weight", "second.weight"))] == stops(measured)


def test_each_way_to_the_loss_has_its_own_stop() -> None:
    run = TinyRun()
    body = run.op("aten::linear", "x", weights=["body.weight"], gradient=0.0)
    rounded = run.op("aten::round", body)
    dropped = run.op("aten::mul", body, constants={"other": 0.0}, activation=statistics(0.0))
    measured = run.finish(run.op("aten::add", rounded, dropped))
    assert [(Why.STEP, rounded, ["body.weight"]), (Why.FACTOR, dropped, ["body.weight"])] == causes(measured)


def test_views_hand_the_gradient_on() -> None:
    run = TinyRun()
    body = run.op("aten::linear", "x", weights=["body.weight"], gradient=0.0)
    view = run.op("aten::view", body, is_view=True, gradient=0.0, activation=None)
    floor = run.op("aten::floor", view)
    assert [(floor, view, ("body.weight",))] == stops(run.finish(floor))


def test_a_detached_way_is_no_way() -> None:
    run = TinyRun()
    body = run.op("aten::linear", "x", weights=["body.weight"], gradient=0.0)
    detached = run.op("aten::detach", body)
    measured = run.finish(run.op("aten::add", run.op("aten::linear", "x", weights=["skip.weight"]), detached, body))
    assert [(3, body, ("body.weight",))] == stops(measured)


def test_an_operand_without_elements_stops_nothing() -> None:
    run = TinyRun()
    expert = run.op("aten::linear", "x", weights=["expert.weight"], gradient=0.0, shape=(0, 8))
    rest = run.op("aten::linear", "x", weights=["rest.weight"])
    assert [] == stops(run.finish(run.op("aten::index_put_", rest, expert)))


@pytest.mark.parametrize(
    ("op", "known", "expected"),
    [
        ("aten::mul", {}, Kind.PRODUCT),
        ("aten::relu", {}, Kind.OTHER),
        ("aten::round", {}, Kind.STEP),
        ("aten::zeros_like", {}, Kind.MADE),
        ("aten::dropout", {"constants": {"p": 1.0, "train": True}}, Kind.PRODUCT),
        ("aten::masked_fill", {}, Kind.REPLACED),
    ],
)
def test_the_origin_of_zeros(op: str, known: dict[str, object], expected: Kind) -> None:
    run = TinyRun(x=statistics(), mask=statistics(0.0))
    layer = run.op("aten::linear", "x", weights=["layer.weight"])
    operands: tuple[int | str, ...] = (layer, "mask") if op == "aten::mul" else (layer,)
    made = run.op(op, *operands, activation=statistics(0.0), **known)  # type: ignore[arg-type]
    handed_on = run.op("aten::tanh", made, activation=statistics(0.0))
    paths = Paths(run.finish(handed_on))
    assert is_zero(paths, (handed_on,))
    origin = zero_origin(paths, (handed_on,))
    assert (expected, made) == (origin.kind, origin.site.index if origin.site else -1)


@pytest.mark.parametrize(("held", "kind"), [("parameter:w", Kind.PARAMETER), ("input:x", Kind.INPUT)])
def test_the_origin_of_what_was_zero_before_the_run(held: str, kind: Kind) -> None:
    run = TinyRun(x=statistics(0.0))
    run.parameter("w", weight=statistics(0.0))
    paths = Paths(run.finish(run.op("aten::linear", "x", weights=["w"])))
    origin = zero_origin(paths, (held,))
    assert (kind, held.partition(":")[2]) == (origin.kind, origin.name)


def test_a_value_that_may_be_one_of_two_is_zero_only_if_both_are() -> None:
    run = TinyRun()
    zeros = run.op("aten::zeros", activation=statistics(0.0))
    others = run.op("aten::linear", "x", weights=["w"])
    paths = Paths(run.finish(others))
    assert [True, False, False] == [is_zero(paths, held) for held in ((zeros,), (zeros, others), ())]


def test_one_mask_starves_both_sides_and_is_one_cause() -> None:
    run = TinyRun(x=statistics(), mask=statistics(0.0))
    run.parameter("after.weight", gradient=0.0)
    before = run.op("aten::linear", "x", weights=["before.weight"], gradient=0.0)
    gated = run.op("aten::mul", before, "mask", activation=statistics(0.0))
    after = run.op("aten::linear", gated, weights=["after.weight"])
    measured = run.finish(run.op("aten::add", after, run.op("aten::linear", "x", weights=["skip.weight"])))
    assert [(Why.FACTOR, gated, ["before.weight", "after.weight"])] == causes(measured)


@pytest.mark.parametrize(("zeros", "expected"), [(1, [["size.weight"]]), (0, [])])
def test_a_vector_of_weights_takes_one_of_the_joined_losses(zeros: int, expected: list[list[str]]) -> None:
    run = TinyRun()
    weights = run.op("prim::Constant", activation=statistics(count=2, zero_count=zeros))
    kind = run.op("aten::linear", "x", weights=["kind.weight"])
    size = run.op("aten::linear", "x", weights=["size.weight"], gradient=0.0)
    scaled = run.op("aten::mul", run.op("aten::stack", kind, size), weights)
    found = zero_causes(Paths(run.finish(run.op("aten::sum", scaled))), *Why)
    assert expected == [cause.parameters for cause in found]
    assert all((cause.why, cause.site.index, cause.zero_share) == (Why.FACTOR, scaled, 0.5) for cause in found)
