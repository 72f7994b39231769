"""Networks for images as people write them at work, each with one fault; written before any rule saw them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class ConvBlock(nn.Module):
    def __init__(self, before: int, after: int, act: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)
        self.bn = nn.BatchNorm2d(after)
        self.act = act if act is not None else nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.bn(self.conv(x)))


class SmallCnn(nn.Module):
    def __init__(self, classes: int = 4, act: nn.Module | None = None) -> None:
        super().__init__()
        self.block1 = ConvBlock(3, 16)
        self.block2 = ConvBlock(16, 32, act)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.block1(x))
        x = self.pool(self.block2(x))
        return self.head(x.mean(dim=[2, 3]))


def pictures(batch: int = 12, side: int = 16) -> torch.Tensor:
    return torch.randn(batch, 3, side, side)


def classified(model: nn.Module, suffers: tuple[str, ...] = ()) -> Built:
    return Built(model, (pictures(),), classes(4, 12), "cross_entropy", suffers=suffers)


@faulty(Expected("dead-relu", module="block2.act"), "zero")
def batch_norm_shift_far_below_zero() -> Built:
    model = SmallCnn()
    nn.init.constant_(model.block2.bn.bias, -30.0)
    return classified(model, ("block1.conv.weight", "block2.conv.weight"))


class OwnRectifier(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (x > 0).float()


@faulty(Expected("dead-relu", module="block2.act"), "zero")
def rectifier_by_mask_is_dead() -> Built:
    model = SmallCnn(act=OwnRectifier())
    nn.init.constant_(model.block2.bn.bias, -30.0)
    return classified(model, ("block1.conv.weight",))


class ChosenRectifier(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x > 0, x, torch.zeros_like(x))


@faulty(Expected("dead-relu", module="block2.act"), "zero")
def rectifier_by_where_is_dead() -> Built:
    model = SmallCnn(act=ChosenRectifier())
    nn.init.constant_(model.block2.bn.bias, -30.0)
    return classified(model, ("block1.conv.weight",))


@faulty(Expected("dead-relu", module="block2.act"), "zero")
def gelu_far_below_zero() -> Built:
    model = SmallCnn(act=nn.GELU())
    nn.init.constant_(model.block2.bn.bias, -40.0)
    return classified(model, ("block1.conv.weight",))


@faulty(Expected("saturated-activation", module="block2.act"), "tiny")
def softsign_module_saturated() -> Built:
    model = SmallCnn(act=nn.Softsign())
    nn.init.constant_(model.block2.bn.bias, 3000.0)
    return classified(model, ("block1.conv.weight",))


class FunctionalSoftsign(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.conv = nn.Conv2d(12, 12, 3, padding=1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.stem(x))
        x = F.softsign(self.conv(x))
        return self.head(x.flatten(2).mean(-1))


@faulty(Expected("saturated-activation", line="F.softsign"), "tiny")
def softsign_function_saturated() -> Built:
    model = FunctionalSoftsign()
    nn.init.constant_(model.conv.bias, 3000.0)
    return classified(model, ("stem.weight",))


class SoftsignByHand(FunctionalSoftsign):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(F.relu(self.stem(x)))
        x = x / (1 + x.abs())
        return self.head(x.flatten(2).mean(-1))


@faulty(Expected("saturated-activation", line="x.abs()"), "tiny")
def softsign_by_hand_saturated() -> Built:
    model = SoftsignByHand()
    nn.init.constant_(model.conv.bias, 3000.0)
    return classified(model, ("stem.weight",))


class GatedConv(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.gated = nn.Conv2d(16, 32, 3, padding=1)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = F.glu(self.gated(x), dim=1)
        return self.head(x.amax(dim=(2, 3)))


@faulty(Expected("saturated-activation", line="F.glu"), "zero")
def gate_of_a_glu_shut() -> Built:
    model = GatedConv()
    model.gated.bias = nn.Parameter(torch.cat([torch.zeros(16), torch.full((16,), -200.0)]))
    return classified(model, ("stem.weight",))


class AutoEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        return self.decoder(z)


class RoundedAutoEncoder(AutoEncoder):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.sigmoid(self.encoder(x))
        z = torch.round(z * 255) / 255
        return self.decoder(z)


@faulty(Expected("zero-derivative-op", op="aten::round", line="torch.round"), "zero")
def compressed_code_rounded_to_eight_bits() -> Built:
    x = pictures(6)
    return Built(RoundedAutoEncoder(), (x,), x, "mse_loss", suffers=("encoder.0.weight",))


class DataAutoEncoder(AutoEncoder):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x).data
        return self.decoder(z)


@faulty(Expected("detached-graph", line=".data"), "none", "script")
def code_taken_as_data() -> Built:
    x = pictures(6)
    return Built(DataAutoEncoder(), (x,), x, "mse_loss", suffers=("encoder.0.weight",))


class UnitLength(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, bias=False)
        self.last = nn.Linear(8, 6, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.last(torch.relu(self.conv(x)).amax(dim=(2, 3)))
        return z / torch.sqrt((z**2).sum(dim=1, keepdim=True)).clamp_min(1e-6)


@faulty(Expected("non-finite-backward", op="aten::sqrt", line="torch.sqrt"), "non-finite")
def black_picture_brought_to_length_one() -> Built:
    x = pictures(6)
    x[2] = 0.0
    return Built(UnitLength(), (x,), torch.randn(6, 6), "mse_loss", suffers=("last.weight",))


@faulty(Expected("frozen-normalization", module="block1.bn"), "told")
def raw_pixels_and_batch_norm_left_in_eval() -> Built:
    model = SmallCnn()
    model.block1.bn.eval()
    model.block2.bn.eval()
    return Built(model, (torch.rand(12, 3, 16, 16) * 255,), classes(4, 12), "cross_entropy")


@faulty(Expected("softmax-dimension", op="aten::softmax"), "told")
def spatial_attention_softmax_over_the_batch() -> Built:
    class Attended(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, padding=1)
            self.score = nn.Conv2d(16, 1, 1)
            self.head = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = F.relu(self.stem(x))
            weights = F.softmax(self.score(x).flatten(1), dim=0)
            return self.head((x.flatten(2) * weights.unsqueeze(1)).sum(-1))

    return classified(Attended())


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = ConvBlock(3, 8)
        self.down2 = ConvBlock(8, 16)
        self.up = nn.Upsample(scale_factor=2.0, mode="nearest")
        self.merge = ConvBlock(24, 8)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.down1(x)
        deep = self.down2(F.max_pool2d(skip, 2))
        x = torch.cat([self.up(deep), skip], dim=1)
        return self.out(self.merge(x))


@faulty(Expected("double-softmax", op="aten::sigmoid"), "told")
def mask_through_a_sigmoid_twice() -> Built:
    class Twice(UNet):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skip = self.down1(x)
            deep = self.down2(F.max_pool2d(skip, 2))
            x = torch.cat([self.up(deep), skip], dim=1)
            return torch.sigmoid(self.out(self.merge(x)))

    target = (torch.rand(4, 1, 16, 16) > 0.6).float()
    return Built(Twice(), (pictures(4),), target, "binary_cross_entropy_with_logits")


@faulty(Expected("zero-multiplier"), "zero")
def skip_connection_scaled_by_nothing() -> Built:
    class Scaled(UNet):
        def __init__(self) -> None:
            super().__init__()
            self.scale = 0.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skip = self.down1(x)
            deep = self.down2(F.max_pool2d(skip, 2)) * self.scale
            x = torch.cat([self.up(deep), skip], dim=1)
            return self.out(self.merge(x))

    target = (torch.rand(4, 1, 16, 16) > 0.6).float()
    return Built(Scaled(), (pictures(4),), target, "binary_cross_entropy_with_logits", suffers=("down2.conv.weight",))


class PlainDeep(nn.Module):
    def __init__(self, depth: int, width: int, act: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.layers = nn.ModuleList([nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)])
        self.act = act
        self.head = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.stem(x))
        for layer in self.layers:
            x = self.act(layer(x))
        return self.head(x.mean(dim=(2, 3)))


@faulty(Expected("vanishing-gradient", module="stem"), "tiny")
def thirty_plain_convolutions_with_softsign() -> Built:
    model = PlainDeep(30, 8, nn.Softsign())
    return Built(model, (pictures(8, 8),), classes(4, 8), "cross_entropy", suffers=("stem.weight",))


@faulty(Expected("symmetric-weights"), "told")
def everything_filled_with_one_hundredth() -> Built:
    model = SmallCnn()
    for each in model.parameters():
        nn.init.constant_(each, 0.01)

    def shown() -> bool:
        loss = F.cross_entropy(model(pictures()), classes(4, 12))
        (gradient,) = torch.autograd.grad(loss, model.block1.conv.weight)
        return bool((gradient - gradient[:1]).abs().max() <= 1e-4 * gradient.abs().max())

    return Built(model, (pictures(),), classes(4, 12), "cross_entropy", shown=shown)


@faulty(Expected("linear-collapse"), "told")
def activations_forgotten_between_convolutions() -> Built:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.Flatten(),
        nn.Linear(32 * 64, 4),
    )

    def shown() -> bool:
        x, y = pictures(2, 8).split(1)
        middle = (model(x) + model(y)) / 2
        return torch.allclose(model((x + y) / 2), middle, atol=1e-4)

    return Built(model, (pictures(12, 8),), classes(4, 12), "cross_entropy", shown=shown)


@faulty(Expected("sample-leak"), "told")
def patches_reshaped_into_the_wrong_images() -> Built:
    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Conv2d(3, 16, 4, stride=4)
            self.mix = nn.Linear(16, 16)
            self.head = nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x).flatten(2)  # [batch, 16, patches]
            x = x.permute(2, 0, 1).reshape(x.size(0), -1, 16)  # meant [batch, patches, 16]
            return self.head(F.gelu(self.mix(x)).mean(1))

    model = Patches()

    def shown() -> bool:
        x = pictures()
        other = x.clone()
        other[0] += 1.0
        return not torch.allclose(model(x)[1:], model(other)[1:])

    return Built(model, (pictures(),), classes(4, 12), "cross_entropy", shown=shown)
