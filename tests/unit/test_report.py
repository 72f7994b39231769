"""Records become the message that crosses the wire: complete, and small enough."""

import math
from dataclasses import replace

import pytest

from gradclinic.v1 import finding_pb2, flow_pb2
from gradclinic_engine.judging.judgement import Bug, Judgement
from gradclinic_engine.judging.judgement import judge as judge_with
from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.measurements import MagnitudeHistogram, Measurements, SourceLine
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.records import Severity
from gradclinic_engine.result import result_of
from gradclinic_engine.rules import RULES, detached_graph, judge
from gradclinic_worker.limits import MAX_RESULT_BYTES
from gradclinic_worker.report import report
from rules.cases import healthy, sick
from rules.tiny_run import TinyRun, statistics


def cut() -> Measurements:
    return next(iter(sick(detached_graph.RULE)))


def test_a_finding_crosses_whole() -> None:
    run = cut()
    (finding,) = report(result_of(judge(run))).findings
    assert ("detached-graph", finding_pb2.SYMPTOM_NO_GRADIENT, finding_pb2.SEVERITY_CRITICAL) == (
        finding.code,
        finding.symptom,
        finding.severity,
    )
    assert ("", "aten::detach", "model.py", 11) == (
        finding.location.module,
        finding.location.op,
        finding.location.source.file,
        finding.location.source.line,
    )
    assert finding.location.HasField("module")
    assert not finding.location.HasField("parameter")
    assert ["encoder.weight"] == list(finding.affected)
    assert not finding.HasField("proof")


def test_sites_and_parameters_tell_the_flow() -> None:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"], gradient=0.5)
    seen = run.finish(run.op("aten::relu", layer, gradient=2.0))
    result = report(result_of(judge(seen)))
    assert [0, 1] == [site.index for site in result.sites]
    assert 0.25 == result.sites[1].gradient_gain
    assert not result.sites[0].HasField("gradient_gain")
    assert flow_pb2.GRADIENT_STATUS_FLOWING == result.parameters[0].status
    assert 0.5 == pytest.approx(result.parameters[0].relative_gradient * seen.parameters[0].weight.rms)


@pytest.mark.parametrize(
    ("code", "case", "verdict"),
    [
        ("frozen-parameter", -1, finding_pb2.VERDICT_CRITICAL),
        ("saturated-activation", 2, finding_pb2.VERDICT_WARNING),
    ],
)
def test_the_verdict_is_the_worst_severity(code: str, case: int, verdict: int) -> None:
    rule = next(rule for rule in RULES if rule.code == code)
    run = list(sick(rule))[case]
    assert verdict == report(result_of(judge(run))).verdict


def test_info_alone_is_healthy() -> None:
    rule = next(rule for rule in RULES if rule.code == "frozen-parameter")
    (run,) = healthy(rule)
    result = report(result_of(judge(run)))
    assert [finding_pb2.SEVERITY_INFO] == [finding.severity for finding in result.findings]
    assert finding_pb2.VERDICT_HEALTHY == result.verdict


def test_a_rule_that_raises_leaves_the_others_standing() -> None:
    def broken(_: Measurements) -> list[object]:
        raise ZeroDivisionError("division by zero")

    rule = replace(RULES[0], code="made-up", check=broken)  # type: ignore[arg-type]  # it never returns
    judgement = judge_with(cut(), (rule, *RULES))
    result = report(result_of(judgement))
    assert ["detached-graph"] == [finding.code for finding in result.findings]
    (told,) = result.unobserved
    assert "rule made-up" == told.what
    assert "ZeroDivisionError: division by zero" in told.reason


def test_without_a_loss_none_is_reported() -> None:
    run = cut()
    run = replace(run, loss=replace(run.loss, kind="random_projection"))
    result = report(result_of(judge(run)))
    assert not result.HasField("loss")
    assert ["loss"] == [each.what for each in result.unobserved]


def large(sites: int, text: str) -> Measurements:
    run = TinyRun()
    wide = statistics(histogram=MagnitudeHistogram(0, (1000,) * 400))
    for number in range(sites):
        run.op(
            "aten::linear" if number % 2 else "aten::view",
            *([number - 1] if number else ["x"]),
            weights=["w"] if not number else (),
            activation=wide if number % 2 else None,
            source=SourceLine("model.py", number, text),
            gradient_rms_by_call=(1.0,) * 40,
        )
    return run.finish(sites - 1)


def test_histograms_go_first() -> None:
    run = large(4000, "middling " * 40)
    result = report(result_of(judge(run)))
    assert result.ByteSize() <= MAX_RESULT_BYTES
    assert 4000 == len(result.sites)
    assert not any(site.activation.HasField("histogram") for site in result.sites)
    assert ["histograms"] == [each.what for each in result.unobserved]
    assert result.sites[1].gradient_rms_by_call


def test_then_calls_then_the_sites_that_say_least() -> None:
    run = large(6000, "long " * 250)
    judgement = judge(run)
    result = report(result_of(judgement))
    assert result.ByteSize() <= MAX_RESULT_BYTES
    assert ["histograms", "gradients of single calls", "operations"] == [each.what for each in result.unobserved]
    assert all(site.HasField("activation") for site in result.sites)
    assert 1000 < len(result.sites) < 6000


def test_a_hostile_text_is_cut_and_made_valid() -> None:
    run = TinyRun()
    layer = run.op("aten::linear", "x", weights=["\ud800"], source=SourceLine("f", 1, "x" * 10_000_000))
    seen = run.finish(layer)
    result = report(result_of(judge(seen)))
    assert "?" == result.parameters[0].name
    assert 2000 == len(result.sites[0].location.source.text)


def test_numbers_that_are_none_stay_so() -> None:
    run = TinyRun()
    nothing = statistics(math.nan, count=0, mean=math.nan, min=math.nan, max=math.nan)
    seen = run.finish(run.op("aten::linear", "x", weights=["w"], activation=nothing))
    assert math.isnan(report(result_of(Judgement(Paths(seen), ()))).sites[0].activation.rms)


def test_a_bug_is_a_record() -> None:
    judgement = Judgement(Paths(cut()), (), (Bug("x", "Traceback\nValueError: y"),))
    assert "ValueError: y" in report(result_of(judgement)).unobserved[0].reason


def test_no_rule_is_silent_about_its_kind() -> None:
    for rule in RULES:
        assert isinstance(rule, Rule)
        found = [finding for run in sick(rule) for finding in judge(run).findings]
        # A converged model is no worse than INFO, says the catalogue; everything else has cases that matter.
        assert (max(finding.severity for finding in found) > Severity.INFO) == (rule.code != "converged")
