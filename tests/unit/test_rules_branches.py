"""Who is told to suffer: layers that get exactly zero by underflow, and branches that hand on what nobody uses."""

from __future__ import annotations

import pytest

from gradclinic_engine.judging.judgement import MAX_ALIKE
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.reading.unused_branches import branches
from gradclinic_engine.records import Severity
from gradclinic_engine.rules import judge
from rules.tiny_run import TinyRun


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


@pytest.mark.parametrize("prompts", [MAX_ALIKE, MAX_ALIKE + 1, 1003])
def test_what_is_alike_is_told_together_once_there_is_much_of_it(prompts: int) -> None:
    run = TinyRun()
    names = [run.parameter(f"prompts.{number}") for number in range(prompts)]
    run.parameter("prompts.used")
    found = judge(run.finish(run.op("aten::add", "x", module="", weights=["prompts.used"]))).findings
    assert ["unused-parameter"] * MAX_ALIKE == [finding.code for finding in found]
    assert names == [name for finding in found for name in finding.affected]
    together = [item.value for item in found[-1].evidence if item.name == "findings_alike"]
    assert ([prompts - MAX_ALIKE] if prompts > MAX_ALIKE else []) == together


def test_a_thousand_experts_without_a_sample_are_told_together() -> None:
    run = TinyRun()
    out = run.op("aten::linear", "x", module="experts.0", weights=["experts.0.weight"])
    for number in range(1, 1003):
        run.op("aten::linear", "x", module=f"experts.{number}", weights=[f"experts.{number}.weight"], calls=0)
    found = judge(run.finish(out)).findings
    assert [(Severity.INFO, "unused-parameter")] * MAX_ALIKE == [(one.severity, one.code) for one in found]
    assert 1002 == len({name for one in found for name in one.affected})


def test_severities_are_not_mixed_where_findings_are_told_together() -> None:
    run = TinyRun()
    for number in range(2 * MAX_ALIKE):
        run.parameter(f"prompts.{number}")
        run.parameter(f"blocks.{number}.weight")
        run.evaluation_mode(f"blocks.{number}")
    run.parameter("prompts.used")
    run.parameter("blocks.used")
    weights = ["prompts.used", "blocks.used"]
    found = judge(run.finish(run.op("aten::add", "x", module="", weights=weights))).findings
    expected = [Severity.CRITICAL] * MAX_ALIKE + [Severity.INFO] * MAX_ALIKE
    assert expected == [finding.severity for finding in found]
