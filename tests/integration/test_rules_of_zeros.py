"""Rules about exactly zero gradients on real runs: the origin is named, once, and structural zeros are left alone."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.records import Severity
from gradclinic_engine.rules import judge
from observed_models import FORMS, Form, alarms, observed

pytestmark = pytest.mark.parametrize("form", FORMS)


def classes(count: int, batch: int) -> torch.Tensor:
    return torch.arange(batch) % count


class Branches(nn.Module):
    """Two branches, of which `off` takes one away."""

    def __init__(self, off: nn.Module) -> None:
        super().__init__()
        self.kept = nn.Linear(6, 8)
        self.lost = nn.Linear(6, 8)
        self.off = off
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.tanh(self.kept(x)) + self.off(torch.tanh(self.lost(x))))


class Rounding(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.round(x * 3)


class Gate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate: torch.Tensor
        self.register_buffer("gate", torch.zeros(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.gate


class Coefficient(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = 0.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x


class Filled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2.0
        y.fill_(1.0)
        return y


class Narrow(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.clamp(x, 5.0, 6.0)


class MinusItsMean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(-1)
        return (x - x.mean(dim=-1, keepdim=True)).squeeze(-1)


FAULTS = [
    ("zero-derivative-op", Rounding(), "aten::round"),
    ("zero-multiplier", Gate(), "aten::mul"),
    ("zero-multiplier", Coefficient(), "aten::mul"),
    ("zero-multiplier", nn.Dropout(p=1.0), "aten::dropout"),
    ("overwritten-value", Filled(), "aten::fill_"),
    ("clamp-saturation", Narrow(), "aten::clamp"),
    ("degenerate-normalization", MinusItsMean(), "aten::sub"),
]


@pytest.mark.parametrize(("code", "off", "op"), FAULTS, ids=[f"{code}-{type(off).__name__}" for code, off, _ in FAULTS])
def test_what_takes_a_branch_away_is_named_once(code: str, off: nn.Module, op: str, form: Form) -> None:
    torch.manual_seed(1)
    measured = observed(Branches(off), (torch.randn(16, 6),), form, target=classes(3, 16), loss="cross_entropy")
    (finding,) = alarms(measured)
    assert (code, "off", op, Severity.CRITICAL) == (
        finding.code,
        finding.location.module,
        finding.location.op,
        finding.severity,
    )
    assert {"lost.weight", "lost.bias"} == set(finding.affected)
    assert finding.location.source is not None


class LowRank(nn.Module):
    def __init__(self, *, down: bool, up: bool) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6)
        self.down = nn.Linear(6, 2, bias=False)
        self.up = nn.Linear(2, 6, bias=False)
        self.head = nn.Linear(6, 3)
        for layer, is_zero in ((self.down, down), (self.up, up)):
            if is_zero:
                nn.init.zeros_(layer.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.base(x).tanh() + self.up(self.down(x)))


def test_one_zero_heals_and_two_do_not(form: Form) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(16, 6), classes(3, 16)
    healing = observed(LowRank(down=False, up=True), (x,), form, target=y, loss="cross_entropy")
    assert [] == alarms(healing)
    (told,) = (each for each in judge(healing).findings if each.code == "zero-weights")
    assert ("up.weight", Severity.INFO) == (told.location.parameter, told.severity)
    stuck = observed(LowRank(down=True, up=True), (x,), form, target=y, loss="cross_entropy")
    (finding,) = alarms(stuck)
    assert ("zero-weights", "down.weight", Severity.CRITICAL) == (
        finding.code,
        finding.location.parameter,
        finding.severity,
    )
    assert ("up.weight",) == finding.affected


class Shadow(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 5)
        self.weight: torch.Tensor
        self.register_buffer("weight", self.body.weight.detach().clone())
        self.head = nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.linear(x, self.weight, self.body.bias).tanh())


def test_a_copy_that_is_read_in_its_place(form: Form) -> None:
    torch.manual_seed(1)
    measured = observed(Shadow(), (torch.randn(9, 6),), form, target=classes(3, 9), loss="cross_entropy")
    (finding,) = alarms(measured)
    assert ("shadowed-parameter", "body.weight") == (finding.code, finding.location.parameter)
    assert "`weight`" in finding.explanation


class Attention(nn.Module):
    """Fused attention; the scores are multiplied with `sharpness`."""

    def __init__(self, sharpness: float) -> None:
        super().__init__()
        self.query = nn.Linear(16, 16)
        self.key = nn.Linear(16, 16)
        self.value = nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)
        self.sharpness = sharpness

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.query(x), self.key(x), self.value(x)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=self.sharpness)
        return self.head(y.mean(1))


def test_one_hot_weights_inside_a_fused_attention(form: Form) -> None:
    torch.manual_seed(1)
    x, y = torch.randn(8, 20, 16), classes(3, 8)
    mild = observed(Attention(0.25), (x,), form, target=y, loss="cross_entropy")
    sharp = observed(Attention(400.0), (x,), form, target=y, loss="cross_entropy")
    (soft,) = (site.softness for site in mild.sites if site.softness is not None)
    assert 0.5 < soft < 1.0
    assert [] == alarms(mild)
    (finding,) = alarms(sharp)
    assert ("saturated-softmax", "aten::scaled_dot_product_attention") == (finding.code, finding.location.op)


def test_softness_of_a_softmax_follows_from_its_rms(form: Form) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 5), nn.Softmax(dim=1))
    x = torch.randn(32, 6)
    expected = 1 - model(x).square().sum(1).mean().item()
    measured = observed(model, (x,), form)
    (site,) = (site for site in measured.sites if site.op == "aten::softmax")
    assert site.activation is not None
    assert pytest.approx(expected, rel=1e-5) == 1 - site.activation.rms**2 * 5


def test_equal_units_are_measured_and_named(form: Form) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3))
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.1)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    measured = observed(model, (torch.randn(16, 6),), form, target=classes(3, 16), loss="cross_entropy")
    by_name = {parameter.name: parameter for parameter in measured.parameters}
    assert (1.0, 0.0) == (by_name["0.weight"].twin_rows, by_name["0.weight"].twin_columns)
    (finding,) = alarms(measured)
    assert ("symmetric-weights", "0.weight") == (finding.code, finding.location.parameter)


class OneStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out, _ = self.rnn(x)
        return out[:, -1]


def test_the_first_state_of_a_sequence_is_zero_by_right(form: Form) -> None:
    torch.manual_seed(1)
    measured = observed(OneStep(), (torch.randn(8, 1, 4),), form)
    (recurrent,) = (parameter for parameter in measured.parameters if parameter.name == "rnn.weight_hh_l0")
    assert recurrent.status is GradientStatus.ZERO
    assert [] == alarms(measured)


class InstanceNormOfOne(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.InstanceNorm2d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(F.adaptive_avg_pool2d(self.conv(x), 1)).flatten(1))


def test_what_torch_refuses_is_a_finding(form: Form) -> None:
    if form == "trace":
        return  # torch refuses to trace it
    measured = observed(
        InstanceNormOfOne(), (torch.randn(4, 3, 6, 6),), form, target=classes(2, 4), loss="cross_entropy"
    )
    (finding,) = alarms(measured)
    assert ("degenerate-normalization", "norm") == (finding.code, finding.location.module)
