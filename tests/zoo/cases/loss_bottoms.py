"""Losses that are flat, that have no bottom, or that are at it already."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.cases.loss_bodies import Body, OwnMseLoss, Triplets, Vector, x

# Flat.


@faulty(Expected("flat-loss", name="loss"), "told")
def only_padding_in_the_batch() -> Built:
    embed = nn.Sequential(nn.Embedding(40, 12), nn.Linear(12, 40))
    y = torch.zeros(50, dtype=torch.int64)
    return Built(embed, (torch.randint(1, 40, (50,)),), y, "cross_entropy", {"ignore_index": 0, "reduction": "sum"})  # type: ignore[dict-item]  # a word


@faulty(Expected("flat-loss", name="loss"), "zero")
def triplets_beyond_the_margin() -> Built:
    a = torch.randn(20, 5)
    return Built(Triplets(), (a, a + 0.01, torch.randn(20, 5) * 12), None, "model", suffers=("embed.weight",))


class ClippedLoss(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y).clamp(max=4.0)


@faulty(Expected("flat-loss", name="loss", line="clamp(max=4.0)"), "zero")
def loss_clipped_below_its_value() -> Built:
    return Built(ClippedLoss(), (x(), torch.randn(36, 3) * 10), None, "model", suffers=("body.0.weight",))


class WarmedUp(Body):
    """The weight of the loss is warmed up from zero, and is still zero."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.body(x), y) * self.weight


@faulty(Expected("flat-loss", name="loss", line="* self.weight"), "zero")
def loss_weight_still_zero() -> Built:
    return Built(WarmedUp(), (x(), classes(3, 36)), None, "model", suffers=("body.0.weight",))


class SelectedPixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        return (self.net(x) - y).abs()[valid].mean()


@faulty(Expected("flat-loss", name="loss"), "told")
def no_valid_pixel() -> Built:
    shape = (3, 1, 6, 6)
    inputs = (torch.randn(shape), torch.randn(shape), torch.zeros(shape, dtype=torch.bool))
    return Built(SelectedPixels(), inputs, None, "model")


@faulty(Expected("flat-loss", name="loss"), "told")
def ranking_kept_by_far() -> Built:
    y = {"input2": torch.full((36,), -50.0), "target": torch.ones(36)}
    return Built(Vector(), (x(),), y, "margin_ranking_loss", {"margin": 1.0})


# Without a bottom.


class NegatedEntropy(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.body(x), y) * -1.0


@faulty(Expected("unbounded-loss", name="loss"), "told")
def cross_entropy_times_minus_one() -> Built:
    return Built(NegatedEntropy(), (x(), classes(3, 36)), None, "model")


class ForgottenMinus(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        logp = F.log_softmax(self.body(x), dim=1)
        return logp.gather(1, y.unsqueeze(1)).mean()


@faulty(Expected("unbounded-loss", name="loss"), "told")
def log_likelihood_without_its_minus() -> Built:
    return Built(ForgottenMinus(), (x(), classes(3, 36)), None, "model")


class PlainDifference(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return (self.body(x) - y).mean()


@faulty(Expected("unbounded-loss", name="loss"), "told")
def difference_without_square() -> Built:
    return Built(PlainDifference(), (x(), torch.randn(36, 3)), None, "model")


class RewardedError(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return 1.0 - torch.pow(self.body(x) - y, 2).sum(1).mean()


@faulty(Expected("unbounded-loss", name="loss"), "told")
def one_minus_the_error() -> Built:
    return Built(RewardedError(), (x(), torch.randn(36, 3)), None, "model")


# Learnt by heart.


@faulty(Expected("converged", name="loss"), "told")
def regression_that_is_exact() -> Built:
    model = nn.Linear(7, 2)
    batch = x()
    return Built(model, (batch,), model(batch).detach().clone(), "mse_loss")


@faulty(Expected("converged", name="loss"), "told")
def classifier_that_is_sure() -> Built:
    model = nn.Linear(4, 4, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4) * 40)
    y = classes(4, 32)
    return Built(model, (F.one_hot(y, 4).float() + torch.randn(32, 4) / 50,), y, "cross_entropy")


@faulty(Expected("converged", name="loss"), "told")
def own_loss_that_is_exact() -> Built:
    model = OwnMseLoss()
    batch = x()
    return Built(model, (batch, model.body(batch).detach().clone()), None, "model")
