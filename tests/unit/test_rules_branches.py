"""Who is told to suffer: layers that get exactly zero by underflow, and branches that hand on what nobody uses."""

from __future__ import annotations

from gradclinic_engine.judging.tiny_run import TinyRun
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.reading.unused_branches import branches
from gradclinic_engine.rules import judge


def test_layers_that_underflow_to_zero_are_affected_too() -> None:
    run = TinyRun()
    value: int | str = "x"
    for layer in range(12):
        gradient = 0.0 if layer < 3 else 2.0 ** (-8 * (12 - layer))
        module = f"body.{layer}"
        value = run.op("aten::linear", value, module=module, weights=[f"{module}.weight"], gradient=gradient)
        value = run.op("aten::sigmoid", value, module=f"act.{layer}", gradient=gradient * 16)
    found = judge(run.finish(run.op("aten::linear", value, module="head", weights=["head.weight"])))
    (vanishing,) = (finding for finding in found.findings if finding.code == "vanishing-gradient")
    assert ("body.0.weight", "body.1.weight", "body.2.weight", "body.3.weight") == vanishing.affected[:4]


def test_parts_that_hand_on_to_one_another_are_one_branch() -> None:
    run = TinyRun()
    body = run.op("aten::linear", "x", module="body", weights=["body.weight"])
    first = run.op("aten::linear", body, module="extra", weights=["extra.weight"])
    run.op("aten::layer_norm", first, module="norm", weights=["norm.weight"])
    run.op("aten::linear", body, module="other", weights=["other.weight"])
    paths = Paths(run.finish(body))
    parts = [("norm", ("norm.weight",)), ("other", ("other.weight",)), ("extra", ("extra.weight",))]
    assert [("extra", ("extra.weight", "norm.weight")), ("other", ("other.weight",))] == branches(paths, parts)
