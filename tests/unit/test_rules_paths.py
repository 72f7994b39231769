"""The shared reasoning over the flow graph, on small programs whose answer can be seen."""

from gradclinic_engine.measurements import Parameter
from gradclinic_engine.reading.depth_profile import depth_profile
from gradclinic_engine.reading.module_tree import common_module, whole_modules
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.reading.severed_paths import Means, severed_paths, without_way
from rules.tiny_run import TinyRun


def parameter(paths: Paths, name: str) -> Parameter:
    return next(each for each in paths.measurements.parameters if each.name == name)


def test_cuts_are_the_first_op_on_each_way() -> None:
    run = TinyRun()
    start = run.op("aten::linear", "x", weights=["w"])
    detached = run.op("aten::detach", start)
    index = run.op("aten::argmax", run.op("aten::relu", start), dtype="int64")
    end = run.op("aten::add", run.op("aten::detach", detached), index)
    paths = Paths(run.finish(end))
    assert [detached, index] == [site.index for site in paths.cuts(parameter(paths, "w"))]


def test_a_way_that_only_reads_the_shape_is_none() -> None:
    run = TinyRun()
    start = run.op("aten::linear", "x", weights=["w"])
    end = run.op("aten::zeros_like", start, requires_grad=False)
    paths = Paths(run.finish(end))
    assert not paths.reaches_loss(paths.sites[start])
    assert ["w"] == [each.name for each in without_way(paths)]


def test_ways_through_ops_that_did_not_run_do_not_count() -> None:
    run = TinyRun()
    start = run.op("aten::linear", "x", weights=["w"])
    skipped = run.op("aten::relu", start, calls=0)
    end = run.op("aten::add", skipped, run.op("aten::linear", "x", weights=["v"]))
    assert [] == severed_paths(Paths(run.finish(end)))


def test_a_no_grad_region_is_one_cut_at_its_first_op() -> None:
    run = TinyRun()
    first = run.op("aten::linear", "x", weights=["a"], grad_enabled=False)
    second = run.op("aten::linear", first, weights=["b"], grad_enabled=False)
    (severed,) = severed_paths(Paths(run.finish(run.op("aten::linear", second, weights=["c"]))))
    assert (first, Means.NO_GRAD, ("a", "b")) == (severed.site.index, severed.means, severed.parameters)


def test_two_no_grad_regions_are_two_cuts() -> None:
    run = TinyRun()
    first = run.op("aten::linear", "x", weights=["a"], grad_enabled=False)
    between = run.op("aten::linear", first, weights=["b"])
    second = run.op("aten::relu", between, grad_enabled=False)
    found = severed_paths(Paths(run.finish(run.op("aten::linear", second, weights=["c"]))))
    assert [("a",), ("b",)] == [severed.parameters for severed in found]


def test_blocks_are_where_gradient_still_arrives() -> None:
    run = TinyRun()
    start = run.op("aten::linear", "x", weights=["w"], gradient=0.0)
    rounded = run.op("aten::round", start)
    paths = Paths(run.finish(rounded))
    assert [rounded] == [site.index for site in paths.blocks(parameter(paths, "w"))]


def test_a_stack_has_its_gain_per_layer() -> None:
    paths = Paths(TinyRun.stack("aten::sigmoid", depth=10, gain=0.25))
    profile = depth_profile(paths, paths.sites[0])
    assert profile is not None
    assert [2.0] * 10 == [round(step, 6) for step in profile.steps]
    assert (20.0, True, ()) == (round(profile.decay, 6), profile.is_exponential, profile.starved)


def test_one_weak_step_is_no_trend() -> None:
    run = TinyRun()
    value = run.op("aten::relu", "x")
    for layer in range(8):
        value = run.op("aten::linear", value, weights=[f"{layer}.w"], gradient=1e-6 if layer < 4 else 1.0)
    paths = Paths(run.finish(value))
    profile = depth_profile(paths, paths.sites[1])
    assert profile is not None
    assert not profile.is_exponential


def test_whole_modules_are_the_largest_without_others() -> None:
    run = TinyRun()
    names = ["a.b.w", "a.b.v", "a.c.w", "d.w", "d.v", "top"]
    run.op("aten::linear", "x", weights=names)
    assert [("a", ("a.b.w", "a.b.v", "a.c.w")), (None, ("d.w",))] == whole_modules(run.finish(0), [*names[:3], "d.w"])
    assert [(None, ("top",))] == whole_modules(run.finish(0), ["top"])


def test_common_module() -> None:
    assert ["a.b", "", ""] == [common_module(paths) for paths in (["a.b.c", "a.b.d"], ["a.x", "b.x"], [""])]


def test_a_residual_stream_goes_from_merge_to_merge() -> None:
    run = TinyRun()
    value = run.op("aten::linear", "x", weights=["stem.w"], gradient=4.0**8)
    for block in range(7, -1, -1):
        branch = run.op("aten::linear", value, weights=[f"{block}.w"], gradient=0.5 * 4.0**block)
        value = run.op("aten::add", value, branch, gradient=4.0**block)
    paths = Paths(run.finish(value))
    profile = depth_profile(paths, paths.sites[0])
    assert profile is not None
    assert [-2.0] * 8 == [round(step, 6) for step in profile.steps]
    assert profile.is_exponential
