"""Complex, half and double precision, autocast, views, in-place writes, aliases, empty and 0-dim tensors."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it

from eager_reference import Request, compared, measured, only, sites, unobserved
from gradclinic_engine.measurements import GradientStatus
from observed_models import FORMS, Form


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (3, 4), generator=torch.Generator().manual_seed(7))


class One(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Linear(4, 4)


class Spectrum(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(self.a(x))
        return torch.fft.irfft(spectrum * torch.abs(spectrum), n=4)


class ComplexOutput(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(self.a(x))


class ComplexWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.weight = nn.Parameter(torch.randn(4, 4, dtype=torch.complex64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.view_as_real(x.to(torch.complex64) @ self.weight).square().sum(-1)


class Autocast(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = torch.tanh(self.a(x))
        return y.float()


class InPlace(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.dropout(self.a(x), 0.0, inplace=True).sin().clone()
        y[:, 1] *= 2
        y[0].add_(1.0)
        y[y > 1.5] = 0.25
        y.view(-1)[2:5].mul_(y.detach().view(-1)[5:8] + 1)
        z = torch.zeros_like(y)
        z[1:] = y[1:]
        z.index_add_(0, torch.tensor([0, 0]), y[:2])
        return z.clamp_(min=0.1).t().contiguous()


class Views(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x).view(2, -1).unfold(1, 2, 2).permute(2, 0, 1)
        left, right = y.unsqueeze(0).expand(2, -1, -1, -1).split(1)
        return torch.cat([left, right.flip(1)], 3).diagonal(0, 1, 2).squeeze()


class OutputIsInput(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class OutputAliasesInput(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x += self.a(x.clone())
        return x.view(-1)


class OutputIsParameter(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: ARG002  # a forward takes its input
        return self.a.weight


class ParameterViews(nn.Module):
    """Parameters that are only read transposed, in parts, detached, or as one number."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.turned = nn.Parameter(torch.randn(4, 4))
        self.parts = nn.Parameter(torch.randn(3, 4, 4))
        self.cut = nn.Parameter(torch.randn(4, 4))
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.none = nn.Parameter(torch.empty(0, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.turned.t() @ self.cut.detach()
        for part in self.parts.unbind(0):
            y = torch.tanh(y @ part)
        return torch.cat([y * self.scale, self.none])


class Empty(One):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        none = torch.relu(y[:0])
        return torch.cat([y, none]).sum(0) + none.sum() + y[:, :0].sum(1, keepdim=True).sum()


class NoDimension(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(torch.relu(x * self.scale))


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.all = nn.ParameterList([nn.Parameter(torch.randn(4) / 4) for _ in range(300)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for each in self.all:
            x = x + each * torch.tanh(x)
        return x


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Linear(4, 4)
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.a(x).square().sum() + 1) * self.factor


def mlp(dtype: torch.dtype) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2)).to(dtype)


CASES: dict[str, Request] = {
    "fft": Request(Spectrum(), (x_of(),)),
    "complex output": Request(ComplexOutput(), (x_of(),)),
    "complex weight": Request(ComplexWeight(), (x_of(),)),
    "double": Request(mlp(torch.float64), (x_of().double(),)),
    "bfloat16": Request(mlp(torch.bfloat16), (x_of().bfloat16(),)),
    "half": Request(mlp(torch.float16), (x_of().half(),)),
    "in place": Request(InPlace(), (x_of(),)),
    "views": Request(Views(), (x_of(),)),
    "output is input": Request(OutputIsInput(), (x_of(),)),
    "output aliases input": Request(OutputAliasesInput(), (x_of(),)),
    "output is parameter": Request(OutputIsParameter(), (x_of(),)),
    "views of parameters": Request(ParameterViews(), (x_of(),)),
    "empty": Request(Empty(), (x_of(),)),
    "no dimension": Request(NoDimension(), (torch.tensor(0.7),)),
    "many": Request(Many(), (x_of(),)),
    "huge loss": Request(Scale(1e30), (x_of(),), loss="model"),
    "negative loss": Request(Scale(-1e6), (x_of(),), loss="model"),
    "autocast": Request(Autocast(), (x_of(),)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [case for case in CASES if case != "output is parameter"])
def test_gradients_are_those_of_eager_autograd(case: str, form: Form) -> None:
    request = CASES[case]
    # Half precision adds up in another order.
    compared(Request(request.model, request.arguments, form, request.loss), rel=1e-4 if "float16" not in case else 0.05)


def test_a_parameter_may_be_the_output() -> None:
    compared(CASES["output is parameter"])  # torch itself cannot trace it


def test_complex_values_are_unobserved_and_the_real_ones_judged() -> None:
    found = measured(CASES["fft"])
    assert {"aten::fft_rfft", "aten::mul"} == {what.partition(" ")[0] for what in unobserved(found)}
    assert all("complex" in why for why in unobserved(found).values())
    assert only(found, "fft_irfft").gradient is not None
    assert all(each.status is GradientStatus.FLOWING for each in found.parameters)


def test_a_script_under_autocast_shows_the_narrow_values() -> None:
    found = measured(CASES["autocast"])
    assert ["bfloat16"] == [site.dtype for site in sites(found, "tanh")]


def test_only_what_is_cut_off_has_no_gradient() -> None:
    found = measured(CASES["views of parameters"])
    statuses = {each.name: each.status for each in found.parameters}
    assert {
        "turned": GradientStatus.FLOWING,
        "parts": GradientStatus.FLOWING,
        "cut": GradientStatus.MISSING,
        "scale": GradientStatus.FLOWING,
        "none": GradientStatus.FLOWING,  # all of its no elements
    } == statuses
