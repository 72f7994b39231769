"""Source lines of traced modules, histograms over all calls of a loop, and a rule that raises."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from eager_reference import Request, measured, only, sites
from gradclinic_engine import rules
from gradclinic_engine.judging import judgement
from gradclinic_engine.observe.observe_meter import MAX_SAMPLED_CALLS
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.records import Finding, Severity
from gradclinic_engine.result import result_of
from gradclinic_engine.torchscript.program_source import is_users
from gradclinic_worker import report


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


class Shrinking(nn.Module):
    """The gradient halves in each round: every power of two has its call."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.weight = nn.Parameter(torch.ones(4))
        self.rounds = rounds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * self.weight
        for _ in range(self.rounds):
            y = y * 0.25
        return y.sum()


@pytest.mark.parametrize("rounds", [2, 4, 13, 40])
def test_a_histogram_spans_all_calls_of_a_loop(rounds: int) -> None:
    found = measured(Request(Shrinking(rounds), (torch.ones(2, 4),), loss="model"))
    looped = next(site for site in sites(found, "mul") if site.calls == rounds)
    for statistics in (looped.gradient, looped.activation):
        assert statistics is not None
        assert statistics.histogram is not None
        # Each call has its own power of two: every second bucket, at most four calls kept.
        filled = [place for place, count in enumerate(statistics.histogram.counts) if count]
        steps = {later - earlier for earlier, later in pairwise(filled)}
        assert 2 <= len(filled) <= MAX_SAMPLED_CALLS
        assert len(steps) == 1
        # Spread over the whole loop, not over its beginning.
        assert (filled[-1] - filled[0]) / 2 > (rounds - 1) / 2 - 1


def test_a_traced_container_has_torchs_own_line_and_not_that_of_the_trace() -> None:
    traced = measured(Request(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (x_of(3, 4),), "trace"))
    scripted = measured(Request(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (x_of(3, 4),)))
    for found in (traced, scripted):
        for op in ("linear", "tanh"):
            source = only(found, op).source
            assert source is None or not is_users(source)


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


def test_a_traced_module_has_the_line_in_its_forward() -> None:
    found = measured(Request(nn.Sequential(Own(), nn.Tanh()), (x_of(3, 4),), "trace"))
    source = only(found, "linear").source
    assert source is not None
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123  # the very file that torch recorded
        assert file.read().splitlines()[source.line - 1].strip() == "return self.body(x)"
    assert source.file == __file__


def test_a_rule_that_raises_is_reported_and_the_rest_stands() -> None:
    found = measured(Request(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), (x_of(3, 4) * float("nan"),)))

    def raises(_: Paths) -> Iterable[Finding]:
        raise ZeroDivisionError("a defect")

    broken = replace(rules.RULES[0], check=raises)
    plain = judgement.judge(found, rules.RULES[1:])
    judged = judgement.judge(found, (broken, *rules.RULES[1:]))
    assert plain.findings == judged.findings
    assert Severity.CRITICAL is judged.findings[0].severity
    (bug,) = judged.bugs
    assert (broken.code, True) == (bug.code, "ZeroDivisionError: a defect" in bug.trace)
    result = report.report(result_of(judged))
    (told,) = [each for each in result.unobserved if each.what == f"rule {broken.code}"]
    assert "A defect of gradclinic" in told.reason
    assert "ZeroDivisionError: a defect" in told.reason
    assert len(plain.findings) == len(result.findings)
