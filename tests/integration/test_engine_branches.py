"""Programs whose branches raise, and activations of one number per sample."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from observed_models import observed


class OwnLoss(nn.Module):
    """Scripted losses of torch hold branches that raise; their values are uninitialised."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y)


class Hinge(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x).squeeze(1) - 100.0).mean()


def test_a_branch_that_raises_is_no_obstacle() -> None:
    model = OwnLoss()
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    measured = observed(model, (x, y), "script", loss="model")
    expected = F.mse_loss(model.body(x), y)
    assert measured.loss.value == expected.item()
    assert "prim::Uninitialized" not in {site.op for site in measured.sites}


def test_one_number_per_sample_is_one_unit() -> None:
    measured = observed(Hinge(), (torch.randn(16, 4),), "script", loss="model")
    (relu,) = (site for site in measured.sites if site.op == "aten::relu")
    assert (relu.unit_count, relu.dead_unit_share) == (1, 1.0)
