"""Python numbers in a trace: written down as tensors without dimensions, they must not decide anything's type."""

import math

import pytest
import torch
from torch import nn

from eager_reference import Request, compared, sites
from observed_models import FORMS, Form


class Rates(nn.Module):
    """A whole-number range times a number is float32, as the layer that reads it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.unsqueeze(1) * torch.exp(torch.arange(8) * (-math.log(100.0) / 8)))


class NumbersEverywhere(Rates):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(8)
        return self.fc(((steps + 0.5) / 3.5 - 0.25) * x.unsqueeze(1) * 2)


class NumberInALoop(Rates):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(5, 8)
        for step in range(3):
            total = total + x.unsqueeze(1) * (torch.arange(8) * 0.125 + step)
        return self.fc(total)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [Rates, NumbersEverywhere, NumberInALoop])
def test_integers_times_a_number_are_as_in_eager_torch(model: type[nn.Module], form: Form) -> None:
    compared(Request(model(), (torch.arange(5.0),), form))


def test_a_number_is_a_constant_of_the_operation_as_in_a_script() -> None:
    found = compared(Request(NumbersEverywhere(), (torch.arange(5.0),), "trace"))
    assert sites(found, "mul")[-1].constants["other"] == 2
