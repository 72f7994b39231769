"""Every rule on its own healthy and sick cases, alone and judged together with the others."""

import pytest

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.records import Severity
from gradclinic_engine.rules import RULES, judge
from rules.cases import healthy, sick
from rules.tiny_run import TinyRun
from rules.tiny_terms import term

CASES = [pytest.param(rule, id=rule.code) for rule in RULES]


@pytest.mark.parametrize("rule", CASES)
def test_healthy_cases_are_silent(rule: Rule) -> None:
    runs = list(healthy(rule))
    assert runs
    assert [] == [f for run in runs for f in judge(run).findings if f.severity > Severity.INFO]


@pytest.mark.parametrize("rule", CASES)
def test_sick_cases_are_found_once(rule: Rule) -> None:
    runs = list(sick(rule))
    assert runs
    assert [[rule.code]] * len(runs) == [
        [f.code for f in judge(run).findings if f.severity > Severity.INFO or f.code == rule.code] for run in runs
    ]


@pytest.mark.parametrize("rule", CASES)
def test_no_rule_raises_on_any_case(rule: Rule) -> None:
    assert [] == [bug for run in (*healthy(rule), *sick(rule)) for bug in judge(run).bugs]


@pytest.mark.parametrize("rule", CASES)
def test_findings_say_all_that_the_catalogue_demands(rule: Rule) -> None:
    for run in sick(rule):
        for finding in rule.check(Paths(run)):
            assert (rule.code, rule.symptom) == (finding.code, finding.symptom)
            assert finding.explanation
            assert finding.remedies
            assert finding.evidence
            assert finding.location != type(finding.location)()


def test_codes_are_unique() -> None:
    assert len(RULES) == len({rule.code for rule in RULES})


def test_a_one_hot_choice_is_no_softmax() -> None:
    run = TinyRun()
    chosen = run.op("aten::one_hot", run.op("aten::linear", "x", weights=["fc.weight"]), requires_grad=False)
    called = term("cross_entropy", chosen, prediction={"min": 0.0, "max": 1.0, "probability_dims": (1,)})
    judgement = judge(run.finish(chosen, loss_name="cross_entropy", terms=(called,)))
    assert ["non-differentiable-op"] == [finding.code for finding in judgement.findings]
