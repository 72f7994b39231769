"""Gradients of exactly zero in whole architectures that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Residual(nn.Module):
    """A residual block."""

    def __init__(self, width: int, *, dead: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if dead:
            nn.init.constant_(self.bn1.bias, -25.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(x + h)


class SmallResNet(nn.Module):
    """A stem, three blocks, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.blocks = nn.Sequential(Residual(12), Residual(12, dead=True), Residual(12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


@faulty(Expected("dead-relu", module="blocks.1"), "zero")
def branch_of_a_residual_block_is_dead() -> Built:
    return Built(
        SmallResNet(), (torch.randn(6, 3, 12, 12),), classes(4, 6), "cross_entropy", suffers=("blocks.1.conv1.weight",)
    )


class Vae(nn.Module):
    """Samples its code through a distribution without a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(12, 24)
        self.mean = nn.Linear(24, 4)
        self.spread = nn.Linear(24, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encoder(x))
        code = torch.normal(self.mean(h), F.softplus(self.spread(h)))
        return F.mse_loss(self.decoder(code), x)


@faulty(Expected("zero-derivative-op", op="aten::normal"), "zero")
def vae_that_samples_without_reparametrisation() -> Built:
    return Built(Vae(), (torch.randn(24, 12),), None, "model", suffers=("encoder.weight", "mean.weight"))


class Lora(nn.Module):
    """Both factors start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(18, 18)
        self.down = nn.Parameter(torch.zeros(18, 4))
        self.up = nn.Parameter(torch.zeros(4, 18))
        self.head = nn.Linear(18, 3)
        for each in (*self.base.parameters(), *self.head.parameters()):
            each.requires_grad = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.base(x) + x @ self.down @ self.up))


@faulty(Expected("zero-weights", parameter=("down", "up")), "zero")
def adapter_of_two_zeros() -> Built:
    return Built(Lora(), (torch.randn(16, 18),), classes(3, 16), "cross_entropy", suffers=("down", "up"))


class MultiTask(nn.Module):
    """A schedule has set the second task's weight to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind = nn.Linear(32, 4)
        self.size = nn.Linear(32, 1)
        self.register_buffer("weights", torch.tensor([1.0, 0.0]))

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        h = self.trunk(x)
        losses = torch.stack([F.cross_entropy(self.kind(h), kind), F.mse_loss(self.size(h).squeeze(1), size)])
        return (losses * self.weights).sum()


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def second_task_has_no_weight() -> Built:
    inputs = (torch.randn(20, 10), classes(4, 20), torch.randn(20))
    return Built(MultiTask(), inputs, None, "model", suffers=("size.weight", "size.bias"))


class UNet(nn.Module):
    """The skip writes over what came up from below."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.down(x))
        low = F.leaky_relu(self.deep(F.avg_pool2d(skip, 2)), 0.1)
        joined = F.interpolate(low, scale_factor=2.0)
        joined = joined.clone()
        joined.copy_(skip)
        return self.out(joined)


@faulty(Expected("overwritten-value", op="aten::copy_"), "told")
def skip_copied_over_the_deep_path() -> Built:
    x = torch.randn(4, 1, 12, 12)
    return Built(UNet(), (x,), torch.tanh(x), "mse_loss")


class Bilinear(nn.Module):
    """A two-stream model whose streams meet in a product, one of them masked for the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Linear(14, 28), nn.ReLU())
        self.text = nn.Sequential(nn.Linear(9, 28), nn.ReLU())
        self.head = nn.Linear(28, 2)

    def forward(self, image: torch.Tensor, text: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        image = self.image(image)
        return self.head(image + self.text(text) * present)


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def text_is_present_nowhere() -> Built:
    inputs = (torch.randn(12, 14), torch.randn(12, 9), torch.zeros(12, 1))
    return Built(Bilinear(), inputs, classes(2, 12), "cross_entropy", suffers=("text.0.weight", "text.0.bias"))
