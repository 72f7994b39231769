"""Healthy networks for images and signals as people write them at work; written before any rule saw them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


def pictures(batch: int = 12, channels: int = 3, side: int = 16) -> torch.Tensor:
    return torch.randn(batch, channels, side, side)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 60)
        self.fc2 = nn.Linear(60, 40)
        self.fc3 = nn.Linear(40, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


@healthy()
def lenet_on_digits_between_zero_and_one() -> Built:
    x = torch.rand(16, 1, 24, 24) * (torch.rand(16, 1, 24, 24) > 0.7)
    return Built(LeNet(), (x,), classes(10, 16), "cross_entropy")


@healthy()
def vgg_with_thirteen_default_convolutions() -> Built:
    layers: list[nn.Module] = []
    before = 3
    for width in (16, 16, 0, 32, 32, 0, 32, 32, 32, 0, 64, 64, 64):
        if width:
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            before = width
        else:
            layers.append(nn.MaxPool2d(2))
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 5))
    return Built(model, (pictures(),), classes(5, 12), "cross_entropy")


class DeepNormed(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.stem = nn.Linear(16, 32)
        self.layers = nn.ModuleList([nn.Linear(32, 32) for _ in range(depth)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(32) for _ in range(depth)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for layer, norm in zip(self.layers, self.norms):  # noqa: B905 - TorchScript has no strict
            x = F.relu(norm(layer(x)))
        return self.head(x)


@healthy()
def forty_layers_with_batch_norm() -> Built:
    return Built(DeepNormed(40), (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


def settled(model: nn.Module, *inputs: torch.Tensor) -> nn.Module:
    """Lets the running statistics settle, and leaves the model in eval mode."""
    for each in model.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - torch's own base class
            each.momentum = None
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(*inputs)
    for each in model.modules():
        if isinstance(each, nn.modules.batchnorm._BatchNorm):  # noqa: SLF001 - torch's own base class
            each.momentum = 0.1
    return model.eval()


@healthy("script")
def thirty_layers_with_settled_batch_norm_in_eval_mode() -> Built:
    x = torch.randn(32, 16)
    return Built(settled(DeepNormed(30), x), (x,), classes(4, 32), "cross_entropy")


class Bottleneck(nn.Module):
    def __init__(self, width: int, narrow: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(narrow)
        self.conv2 = nn.Conv2d(narrow, narrow, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(narrow)
        self.conv3 = nn.Conv2d(narrow, width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x
        return self.relu(out)


@healthy()
def resnet_of_bottlenecks() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True),
        *[Bottleneck(32, 8) for _ in range(10)], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5),
    )  # fmt: skip
    return Built(model, (pictures(8),), classes(5, 8), "cross_entropy")


class DropPath(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return x
        kept = (torch.rand(x.size(0), 1, 1, 1) >= self.rate).float()
        return x * kept / (1 - self.rate)


class ConvNextBlock(nn.Module):
    def __init__(self, width: int, rate: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(1e-6 * torch.ones(width))
        self.drop = DropPath(rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return x + self.drop(y.permute(0, 3, 1, 2))


@healthy()
def convnext_with_layer_scale_of_a_millionth_and_drop_path() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=4), *[ConvNextBlock(16, 0.1 * i / 6) for i in range(6)],
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5),
    )  # fmt: skip
    return Built(model, (pictures(),), classes(5, 12), "cross_entropy")


class Sine(nn.Module):
    def __init__(self, before: int, after: int, *, first: bool = False, omega: float = 30.0) -> None:
        super().__init__()
        self.omega = omega
        self.linear = nn.Linear(before, after)
        bound = 1 / before if first else math.sqrt(6 / before) / omega
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.omega * self.linear(x))


@healthy()
def siren_of_an_image() -> Built:
    model = nn.Sequential(Sine(2, 64, first=True), Sine(64, 64), Sine(64, 64), Sine(64, 64), nn.Linear(64, 1))
    with torch.no_grad():
        bound = math.sqrt(6 / 64) / 30
        model[-1].weight.uniform_(-bound, bound)
    side = torch.linspace(-1, 1, 16)
    grid = torch.stack(torch.meshgrid(side, side, indexing="ij"), dim=-1).reshape(-1, 2)
    target = torch.sin(3 * grid[:, :1]) * torch.cos(5 * grid[:, 1:])
    return Built(model, (grid,), target, "mse_loss")


@healthy()
def radiance_field_with_positional_encoding() -> Built:
    class Radiance(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("bands", 2.0 ** torch.arange(6) * math.pi)
            self.layers = nn.ModuleList([nn.Linear(36, 48), nn.Linear(48, 48), nn.Linear(48 + 36, 48)])
            self.density = nn.Linear(48, 1)
            self.colour = nn.Linear(48, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            angles = (x.unsqueeze(-1) * self.bands).flatten(1)
            code = torch.cat([angles.sin(), angles.cos()], dim=-1)
            h = code
            for i, layer in enumerate(self.layers):
                h = F.relu(layer(h if i != 2 else torch.cat([h, code], dim=-1)))
            return torch.cat([torch.sigmoid(self.colour(h)), F.softplus(self.density(h) - 1)], dim=-1)

    return Built(Radiance(), (torch.rand(64, 3) * 2 - 1,), torch.rand(64, 4), "mse_loss")


@healthy()
def detector_with_many_empty_cells() -> Built:
    class Detector(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(3, 16, 3, stride=2, padding=1),
                nn.SiLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.SiLU(),
            )
            self.objectness = nn.Conv2d(32, 1, 1)
            self.box = nn.Conv2d(32, 4, 1)
            nn.init.constant_(self.objectness.bias, -4.6)  # the prior of rare objects

        def forward(self, x: torch.Tensor, there: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
            h = self.body(x)
            score = F.binary_cross_entropy_with_logits(self.objectness(h), there)
            gap = (self.box(h) - boxes).abs() * there
            return score + gap.sum() / there.sum().clamp(min=1)

    there = torch.zeros(6, 1, 4, 4)
    there[0, 0, 1, 1] = there[2, 0, 3, 2] = there[5, 0, 0, 0] = 1.0
    return Built(Detector(), (pictures(6), there, torch.randn(6, 4, 4, 4)), None, "model")


@healthy()
def simclr_projection_with_temperature() -> Built:
    class SimClr(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
            )
            self.projection = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))

        def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            a = F.normalize(self.projection(self.encoder(one)), dim=-1)
            b = F.normalize(self.projection(self.encoder(two)), dim=-1)
            scores = a @ b.t() / 0.2
            return F.cross_entropy(scores, torch.arange(scores.size(0)))

    one = pictures(10)
    return Built(SimClr(), (one, one + 0.1 * torch.randn_like(one)), None, "model")


@healthy()
def byol_with_a_stopped_target() -> Built:
    class Byol(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.online = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
            self.target = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 16))
            self.predictor = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
            self.target.load_state_dict(self.online.state_dict())
            for each in self.target.parameters():
                each.requires_grad = False

        def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            prediction = self.predictor(self.online(one))
            with torch.no_grad():
                goal = self.target(two)
            return 2 - 2 * F.cosine_similarity(prediction, goal, dim=-1).mean()

    x = torch.randn(16, 20)
    return Built(Byol(), (x, x + 0.1 * torch.randn_like(x)), None, "model")


@healthy()
def convolutional_gan_generator_with_tanh() -> Built:
    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(
                nn.ConvTranspose2d(16, 32, 4, bias=False), nn.BatchNorm2d(32), nn.ReLU(True),  # noqa: FBT003
                nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True),  # noqa: FBT003
                nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1, bias=False), nn.Tanh(),
            )  # fmt: skip
            for each in self.modules():
                if isinstance(each, nn.ConvTranspose2d):
                    nn.init.normal_(each.weight, 0.0, 0.02)

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.net(z[:, :, None, None])

    return Built(Generator(), (torch.randn(8, 16),), torch.rand(8, 3, 16, 16) * 2 - 1, "mse_loss")


@healthy()
def discriminator_with_leaky_relu_and_half_the_labels_real() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 4, stride=2, padding=1), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(16, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(32, 1, 4, bias=False), nn.Sigmoid(), nn.Flatten(),
    )  # fmt: skip
    target = torch.cat([torch.ones(8, 1), torch.zeros(8, 1)])
    return Built(model, (pictures(16),), target, "binary_cross_entropy")


@healthy()
def keypoints_by_soft_argmax() -> Built:
    class Keypoints(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 5, 1))
            self.register_buffer("places", torch.linspace(-1, 1, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            heat = self.body(x).flatten(2).softmax(-1).view(x.size(0), 5, 16, 16)
            return torch.stack([(heat.sum(2) * self.places).sum(-1), (heat.sum(3) * self.places).sum(-1)], dim=-1)

    return Built(Keypoints(), (pictures(8),), torch.rand(8, 5, 2) * 2 - 1, "mse_loss")


@healthy()
def hard_swish_mobile_network() -> Built:
    class Mobile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.Hardswish())
            self.depthwise = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU6())
            self.squeeze = nn.Conv2d(16, 4, 1)
            self.excite = nn.Conv2d(4, 16, 1)
            self.head = nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.depthwise(self.stem(x))
            gate = F.hardsigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(x, 1)))))
            return self.head((x * gate).mean((2, 3)))

    return Built(Mobile(), (pictures(),), classes(5, 12), "cross_entropy")


@healthy()
def imagenet_style_pixels_normalised_inside() -> Built:
    class Normalising(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor([58.4, 57.1, 57.4]).view(1, 3, 1, 1))
            self.net = nn.Sequential(
                nn.Conv2d(3, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net((x - self.mean) / self.std)

    x = (torch.rand(12, 3, 16, 16) * 255).round()
    return Built(Normalising(), (x,), classes(5, 12), "cross_entropy")
