"""The runs beyond the first: one sample changed, and TorchScript's own executor; what they must leave as it was."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.measurements import ExecutorDifference, GradientStatus, NormFit
from gradclinic_worker import analysis
from observed_models import FORMS, Form, alarms, observed

CLASSES = torch.arange(8) % 3


class Recurrent(nn.Module):
    def __init__(self, *, batch_first: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 12, batch_first=batch_first)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Folded(nn.Module):
    """Batch normalisation and dropout in training mode; the images are flattened with or without mixing them."""

    def __init__(self, order: list[int]) -> None:
        super().__init__()
        self.order = order
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(8 * 16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.conv(x))).permute(self.order)
        return self.head(self.drop(h.reshape(x.shape[0], -1)))


class Root(nn.Module):
    def __init__(self, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.body = nn.Linear(6, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((torch.relu(self.body(x)) + self.epsilon).sqrt())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_a_recurrence_over_the_batch_leaks(form: Form, *, batch_first: bool) -> None:
    x = torch.randn(8, 6, 5)
    found = observed(Recurrent(batch_first=batch_first), (x,), form, target=CLASSES, loss="cross_entropy")
    expected = [] if batch_first else [("sample-leak", "lstm")]
    assert expected == [(finding.code, finding.location.module) for finding in alarms(found)]
    if found.leak is not None:
        assert tuple(range(1, 8)) == found.leak.affected


def test_steps_that_come_first_are_no_leak() -> None:
    class Last(Recurrent):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(x)[0][-1])

    found = observed(Last(batch_first=False), (torch.randn(8, 8, 5),), "script", target=CLASSES, loss="cross_entropy")
    assert found.leak is None


@pytest.mark.parametrize("form", FORMS)
def test_batch_statistics_and_dropout_are_no_leak(form: Form) -> None:
    x = torch.randn(8, 1, 4, 4)
    found = observed(Folded([0, 1, 2, 3]), (x,), form, target=CLASSES, loss="cross_entropy")
    assert found.leak is None
    assert [] == [what for what, _ in found.unobserved]


@pytest.mark.parametrize("form", FORMS)
def test_a_reshape_that_mixes_is_found_behind_batch_statistics(form: Form) -> None:
    x = torch.randn(8, 1, 4, 4)
    found = observed(Folded([1, 0, 2, 3]), (x,), form, target=CLASSES, loss="cross_entropy")
    assert [("sample-leak", "aten::reshape")] == [(each.code, each.location.op) for each in alarms(found)]


@pytest.mark.parametrize("form", FORMS)
def test_the_optimising_executor_makes_nan_where_the_plain_one_does_not(form: Form) -> None:
    x = torch.randn(8, 6)
    found = observed(Root(0.0), (x,), form, target=CLASSES, loss="cross_entropy")
    flowing, broken = GradientStatus.FLOWING, GradientStatus.NON_FINITE
    assert (
        ExecutorDifference("body.weight", flowing, broken),
        ExecutorDifference("body.bias", flowing, broken),
    ) == found.executor_differences
    assert [("executor-dependent", "aten::sqrt")] == [(each.code, each.location.op) for each in alarms(found)]
    assert () == observed(Root(1e-3), (x,), form, target=CLASSES, loss="cross_entropy").executor_differences


def test_a_quick_diagnosis_runs_the_model_once_and_says_so() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        torch.jit.save(torch.jit.script(Root(0.0)), folder / "model")
        save_file({"0": torch.randn(8, 6)}, folder / "inputs")
        files = {
            executor_pb2.ATTACHMENT_MODEL: str(folder / "model"),
            executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs"),
        }
        spec = diagnosis_pb2.DiagnosisSpec(depth=diagnosis_pb2.DEPTH_QUICK)
        found = analysis.measure(spec, files, device=torch.device("cpu"), entered=lambda _stage, _progress: None)
    assert ["samples that mix", "the optimising executor"] == [what for what, _ in found.unobserved]
    assert (None, ()) == (found.leak, found.executor_differences)


def test_the_first_run_is_measured_as_if_it_were_the_only_one() -> None:
    x = torch.randn(8, 1, 4, 4)
    model = Folded([0, 1, 2, 3])
    found = [observed(model, (x,), "script", target=CLASSES, loss="cross_entropy") for _ in range(2)]
    assert replace(found[0], unobserved=()) == replace(found[1], unobserved=())


def test_a_frozen_normalisation_is_measured_channel_by_channel() -> None:
    body, norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
    model = nn.Sequential(body, norm, nn.ReLU(), nn.Linear(6, 3))
    x = torch.randn(64, 4)
    with torch.no_grad():
        h = body(x)
        norm.running_mean = h.mean(0) - 3 * h.std(0)
        norm.running_var = 4 * h.var(0)
        norm.weight.copy_(torch.linspace(0.5, 2.0, 6))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, 6))
    norm.eval()
    found = observed(model, (x,), "script", target=torch.arange(64) % 3, loss="cross_entropy")
    fit = next(site.norm_fit for site in found.sites if site.op == "aten::batch_norm")
    assert isinstance(fit, NormFit)
    assert (0.5, 1.5) == pytest.approx((fit.spread, fit.offset), rel=1e-3)


def test_the_element_that_an_ill_conditioned_operation_met_is_named() -> None:
    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(6, 8, bias=False)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.embed(x)
            return self.head(h / (h.norm(2, 1, keepdim=True) + 1e-12))

    x = torch.randn(8, 6)
    x[5] *= 1e-9
    found = observed(Normalised(), (x,), "script", target=CLASSES, loss="cross_entropy")
    peaks = [site.gradient_peak for site in found.sites if site.gradient_peak]
    assert {5} == {peak.index[0] for peak in peaks}
