"""Models that behave oddly, and are answered properly all the same."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.records import Severity
from gradclinic_engine.rules import judge
from gradclinic_worker import analysis
from observed_models import FORMS, Form, alarms, observed

if TYPE_CHECKING:
    from pathlib import Path


class Ready(nn.Module):
    """Its output is a table of answers that no parameter made."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.answers = nn.Buffer(torch.rand(6, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.answers + x[:, :3]


@pytest.mark.parametrize("form", FORMS)
def test_an_output_without_a_gradient_is_a_finding(form: Form) -> None:
    found = observed(Ready(), [torch.randn(6, 4)], form, target=torch.rand(6, 3), loss="mse_loss")
    (alarm,) = alarms(found)
    assert (Severity.CRITICAL, {"layer.weight", "layer.bias"}) == (alarm.severity, set(alarm.affected))


class GaussianNll(nn.Module):
    """A negative log-likelihood that is far below zero, as that of small deviations is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 24)
        self.mean = nn.Linear(24, 1)
        self.log_variance = nn.Linear(24, 1)
        nn.init.constant_(self.log_variance.bias, -6.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.body(x))
        error = 1e-2 * x[:, :1] - 1e-2 * self.mean(h)
        log_variance = self.log_variance(h)
        return 0.5 * (error.square() * torch.exp(-log_variance) + log_variance).mean()


@pytest.mark.parametrize("form", FORMS)
def test_a_negative_loss_is_no_fault(form: Form) -> None:
    torch.manual_seed(0)
    found = observed(GaussianNll(), [torch.randn(32, 6)], form, loss="model")
    assert found.loss.value < -1
    assert [] == alarms(found)


class Scaled(nn.Module):
    """A loss in odd units."""

    def __init__(self, unit: float) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1))
        self.unit = unit

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.unit * F.mse_loss(self.net(x), y)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unit", [1e-12, 1e25])
def test_the_unit_of_the_loss_changes_no_verdict(unit: float, form: Form) -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 6)
    assert [] == alarms(observed(Scaled(unit), [x, x[:, :1].sin()], form, loss="model"))


class Shrinking(nn.Module):
    """One layer and one activation that see another shape at each call."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(8, 8, 3)
        self.act = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while x.size(2) > 4:
            x = self.act(self.layer(x))
        return self.head(x.mean(2))


def test_shapes_may_change_from_call_to_call() -> None:
    torch.manual_seed(0)
    target = torch.arange(6) % 3
    found = observed(Shrinking(), [torch.randn(6, 8, 17)], "script", target=target, loss="cross_entropy")
    (convolution,) = (site for site in found.sites if site.op == "aten::conv1d")
    assert (7, (6, 8, 3)) == (convolution.calls, convolution.shape)
    assert convolution.activation is not None
    assert sum(6 * 8 * length for length in range(15, 1, -2)) == convolution.activation.element_count
    assert [] == alarms(found)


class Counting(nn.Module):
    """Counts its calls, and keeps a running mean, in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.layer = nn.Linear(5, 3)
        self.calls = nn.Buffer(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.add_(1)
        return self.layer(self.norm(x)) / self.calls


@pytest.mark.parametrize("depth", [diagnosis_pb2.DEPTH_QUICK, diagnosis_pb2.DEPTH_STANDARD])
def test_a_model_that_changes_its_buffers_is_diagnosed_as_it_was_sent(
    depth: diagnosis_pb2.Depth.ValueType, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(Counting()), tmp_path / "model")
    save_file({"0": torch.randn(12, 5)}, tmp_path / "inputs")
    sent = hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest()
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(tmp_path / "model"),
        executor_pb2.ATTACHMENT_INPUTS: str(tmp_path / "inputs"),
    }
    spec = diagnosis_pb2.DiagnosisSpec(seed=1, depth=depth)
    spec.loss.random_projection.SetInParent()

    def diagnose() -> diagnosis_pb2.DiagnosisResult:
        result = analysis.analyse(spec, files, device=torch.device("cpu"), entered=lambda *_: None)
        result.ClearField("environment")  # times differ
        return result

    assert diagnose() == diagnose()
    assert sent == hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest()


class Noisy(nn.Module):
    """Draws noise, drops units, and shuffles."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.GELU(), nn.Dropout(0.3), nn.Linear(32, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x + 0.1 * torch.randn_like(x))


def test_what_is_random_is_the_same_each_time_and_is_said() -> None:
    torch.manual_seed(0)
    x, target = torch.randn(30, 6), torch.arange(30) % 3
    model = Noisy()
    one, other = (observed(model, [x], "trace", target=target, loss="cross_entropy") for _ in range(2))
    assert one.loss.value == other.loss.value
    assert [site.gradient for site in one.sites] == [site.gradient for site in other.sites]
    assert () == judge(one).bugs
    assert any("seed" in note for note in one.notes)


class Scores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


FLOAT8 = (torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz)
STORED = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64),
    *(torch.float16, torch.bfloat16, torch.float64, torch.complex64),
)


def zeros_and_ones(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    return (torch.arange(math.prod(shape)) % 2).reshape(shape).to(dtype)


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        *(("cross_entropy", zeros_and_ones(dtype, 4)) for dtype in (*STORED, *FLOAT8)),
        *(("mse_loss", zeros_and_ones(dtype, 4, 5)) for dtype in STORED),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, torch.Tensor) else value,
)
def test_a_target_of_any_dtype_is_measured(loss: str, target: torch.Tensor) -> None:
    found = observed(Scores(), [torch.randn(4, 4)], "script", target=target, loss=loss)
    (seen,) = (each for term in found.terms for each in term.targets)
    assert str(target.dtype) == f"torch.{seen.dtype}"
    if not target.is_complex():
        assert (0.0, 1.0, 0, 0) == (seen.min, seen.max, seen.nonfinite, seen.ignored)
    assert "constant-target" not in {alarm.code for alarm in alarms(found)}


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_a_target_that_the_loss_cannot_compute_with_is_told(dtype: torch.dtype) -> None:
    with pytest.raises(AnalysisError, match=r"^loss: .*Float8.*`target` float8") as caught:
        observed(Scores(), [torch.randn(4, 4)], "script", target=zeros_and_ones(dtype, 4, 5), loss="mse_loss")
    assert FailureReason.LOSS_ERROR == caught.value.reason


@pytest.mark.parametrize("ignored", [2**62, -(2**63), 300, 256, -254])
def test_a_class_that_the_target_cannot_hold_is_in_none_of_its_elements(ignored: int) -> None:
    found = observed(
        Scores(),
        [torch.randn(4, 4)],
        "script",
        target=torch.tensor([0, 1, 2, 1], dtype=torch.uint8),
        loss="cross_entropy",
        options={"ignore_index": ignored},
    )
    assert [0] == [target.ignored for term in found.terms for target in term.targets]
    assert [] == alarms(found)
