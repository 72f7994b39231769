"""Models in the wrong mode: frozen statistics, batches too small, dropout too strong, archives made for inference."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.skip = nn.Conv2d(inside, outside, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(h)) + self.skip(x))


class ResNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stage1 = Block(3, 8)
        self.stage2 = Block(8, 16)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(self.stage2(self.stage1(x)).mean((2, 3))))


def images(batch: int = 12) -> torch.Tensor:
    return torch.randn(batch, 3, 12, 12)


def settle(model: nn.Module, x: torch.Tensor) -> None:
    """Lets running statistics fit the data."""
    model.train()
    with torch.no_grad():
        for _ in range(60):
            model(x)


def frozen_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            module.eval()


@faulty(Expected("frozen-normalization", module="stage1.bn1"), "told")
def statistics_of_raw_pixels() -> Built:
    model = ResNet()
    settle(model, images() * 64 + 128)
    frozen_norms(model)
    return Built(model, (images(),), classes(4, 12), "cross_entropy")


@faulty(Expected("frozen-normalization", module="stage2.bn2"), "told")
def one_norm_whose_variance_was_lost() -> Built:
    model = ResNet()
    x = images()
    settle(model, x)
    frozen_norms(model)
    model.stage2.bn2.running_var.fill_(1e-5)
    return Built(model, (x,), classes(4, 12), "cross_entropy")


class Tabular(nn.Module):
    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Linear(10, width)
        self.norm = nn.BatchNorm1d(width)
        self.mid = nn.Linear(width, width)
        self.norm2 = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.gelu(self.norm(self.body(x)))
        return self.head(F.gelu(self.norm2(self.mid(h))))


@faulty(Expected("frozen-normalization", module="norm"), "told", "script")
def frozen_mean_far_off() -> Built:
    model = Tabular()
    model.norm.eval()
    model.norm.running_mean.fill_(-90.0)
    return Built(model, (torch.randn(32, 10),), classes(3, 32), "cross_entropy")


@healthy()
def fine_tuning_with_frozen_norms() -> Built:
    model, x = ResNet(), images(16)
    settle(model, x)
    frozen_norms(model)
    return Built(model, (x * 1.3 + 0.2,), classes(4, 16), "cross_entropy")


@healthy("script")
def whole_script_in_eval_mode_with_fitting_statistics() -> Built:
    model, x = ResNet(), images(16)
    settle(model, x)
    return Built(model.eval(), (x,), classes(4, 16), "cross_entropy")


@healthy()
def batch_norm_over_eight_samples() -> Built:
    return Built(Tabular(), (torch.randn(8, 10),), classes(3, 8), "cross_entropy")


@faulty(Expected("batch-too-small", module="norm"), "told")
def batch_norm_of_two_rows() -> Built:
    return Built(Tabular(), (torch.randn(2, 10),), torch.tensor([0, 2]), "cross_entropy")


@faulty(Expected("batch-too-small", module="norm"), "told")
def batch_norm_of_three_rows() -> Built:
    return Built(Tabular(48), (torch.randn(3, 10),), torch.tensor([0, 2, 1]), "cross_entropy")


class PooledBranch(nn.Module):
    """As in ASPP: a branch that pools the image to one pixel and normalises that."""

    def __init__(self) -> None:
        super().__init__()
        self.local = nn.Conv2d(3, 8, 3, padding=1)
        self.pooled = nn.Conv2d(3, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = F.relu(self.norm(self.pooled(x.mean((2, 3), keepdim=True))))
        pooled = pooled.expand(-1, -1, x.shape[2], x.shape[3])
        return self.head(torch.cat([F.relu(self.local(x)), pooled], 1))


@faulty(Expected("batch-too-small", module="norm"), "raises", "script")
def pooled_branch_of_a_single_image() -> Built:
    return Built(PooledBranch(), (torch.randn(1, 3, 10, 10),), torch.randint(0, 2, (1, 10, 10)), "cross_entropy")


@healthy()
def single_image_with_many_pixels() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    return Built(model, (torch.randn(1, 3, 16, 16),), torch.randint(0, 2, (1, 16, 16)), "cross_entropy")


class Dropped(nn.Module):
    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.body = nn.Linear(16, 96)
        self.head = nn.Linear(96, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.dropout(F.silu(self.body(x)), self.p, training=self.training))


@faulty(Expected("excessive-dropout", op="aten::dropout", line="F.dropout"), "told")
def functional_dropout_keeps_a_tenth() -> Built:
    return Built(Dropped(0.92), (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


@faulty(Expected("excessive-dropout", module="2"), "told")
def whole_channels_dropped() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Dropout2d(0.95), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4)
    )
    return Built(model, (images(),), classes(4, 12), "cross_entropy")


@faulty(Expected("excessive-dropout", module="2"), "told", "script")
def alpha_dropout_meant_as_keep_rate() -> Built:
    model = nn.Sequential(nn.Linear(16, 64), nn.SELU(), nn.AlphaDropout(0.9), nn.Linear(64, 4))
    return Built(model, (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


@healthy()
def half_dropped_twice() -> Built:
    model = nn.Sequential(
        nn.Linear(16, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 4),
    )
    return Built(model, (torch.randn(64, 16),), classes(4, 64), "cross_entropy")


@healthy("script")
def strong_dropout_that_is_switched_off() -> Built:
    return Built(Dropped(0.95).eval(), (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


@faulty(Expected("inference-trace"), "told", "trace")
def residual_network_traced_for_deployment() -> Built:
    model, x = ResNet(), images(16)
    settle(model, x)
    return Built(model.eval(), (x,), classes(4, 16), "cross_entropy")


@faulty(Expected("inference-trace"), "told", "trace")
def encoder_traced_without_its_dropout() -> Built:
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.4), nn.Linear(48, 4))
    return Built(model.eval(), (torch.randn(32, 12),), classes(4, 32), "cross_entropy")


@faulty(Expected("inference-trace", module=""), "untrainable", "script")
def frozen_by_torch() -> Built:
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Dropout(0.4), nn.Linear(48, 4)).eval()
    frozen = torch.jit.freeze(torch.jit.script(copy.deepcopy(model)))
    return Built(frozen, (torch.randn(32, 12),), classes(4, 32), "cross_entropy")


@faulty(Expected("inference-trace", module=""), "untrainable", "script")
def convolutions_frozen_for_inference() -> Built:
    model, x = ResNet(), images(8)
    settle(model, x)
    frozen = torch.jit.freeze(torch.jit.trace(model.eval(), (x,)))
    return Built(frozen, (x,), classes(4, 8), "cross_entropy")


@healthy("trace")
def traced_in_training_mode() -> Built:
    return Built(ResNet(), (images(16),), classes(4, 16), "cross_entropy")


@healthy("trace")
def eval_mode_changes_nothing_here() -> Built:
    model = nn.Sequential(nn.Linear(12, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))
    return Built(model.eval(), (torch.randn(32, 12),), classes(4, 32), "cross_entropy")
