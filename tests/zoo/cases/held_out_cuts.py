"""Missing gradients that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class CutBottleneck(nn.Module):
    """A U-Net whose deep path was detached for a debugging session."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.Upsample(scale_factor=2)
        self.leave = nn.Conv2d(24, 2, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.enter(x))
        deep = self.deep(skip).detach_()
        return self.leave(torch.cat([skip, self.up(deep)], 1))


@faulty(Expected("detached-graph", op=("aten::detach_", "aten::detach"), line="detach_()"), "none")
def bottleneck_detached_in_place() -> Built:
    suffers = ("deep.1.weight", "deep.2.weight")
    x = torch.randn(3, 1, 12, 12)
    return Built(CutBottleneck(), (x,), (x[:, 0] > 0).long(), "cross_entropy", suffers=suffers)


class SidecarLoss(nn.Module):
    """The auxiliary loss is detached for logging, and then added."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(9, 20)
        self.main = nn.Linear(20, 4)
        self.side = nn.Sequential(nn.Linear(20, 10), nn.ReLU(), nn.Linear(10, 1))

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.trunk(x))
        side = F.l1_loss(self.side(h).squeeze(1), size)
        return F.cross_entropy(self.main(h), kind) + 0.3 * side.detach()


@faulty(Expected("detached-graph", op="aten::detach", line="side.detach()"), "none")
def auxiliary_loss_detached() -> Built:
    inputs = (torch.randn(20, 9), classes(4, 20), torch.randn(20))
    return Built(SidecarLoss(), inputs, None, "model", suffers=("side.0.weight", "side.2.weight"))


class Rewrapped(nn.Module):
    """A list in between: the tensor is a new one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6) + 0.5)
        self.body = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = torch.tensor((self.scale * 2.0).tolist())
        return self.body(x * scale)


# A trace keeps nothing of how the constant came about: all it shows is a parameter that nobody reads.
@faulty(Expected("unused-parameter", parameter="scale"), "none", "trace")
def scale_through_a_list() -> Built:
    return Built(Rewrapped(), (torch.randn(16, 6),), classes(3, 16), "cross_entropy", suffers=("scale",))


class FrozenByRegion(nn.Module):
    """Gradients are switched off around more than was meant."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(2, 8, 5)
        self.adapter = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.stem(x)).mean(2)
        with torch.no_grad():
            h = h + F.gelu(self.adapter(h))
        return self.head(h)


@faulty(Expected("detached-graph", line=("h + F.gelu(self.adapter(h))")), "none", "script")
def residual_under_no_grad() -> Built:
    suffers = ("stem.weight", "adapter.weight")
    return Built(FrozenByRegion(), (torch.randn(9, 2, 30),), classes(3, 9), "cross_entropy", suffers=suffers)


class Ranked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(5, 1)
        self.out = nn.Linear(12, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        order = torch.argsort(self.score(x).squeeze(-1), dim=1, descending=True)
        return self.out(order.float() / 12.0)


@faulty(Expected("non-differentiable-op", op=("aten::argsort", "aten::sort"), line="torch.argsort"), "none")
def ranks_as_features() -> Built:
    built = (torch.randn(16, 12, 5),)
    return Built(Ranked(), built, torch.randn(16, 2), "mse_loss", suffers=("score.weight", "score.bias"))


class SampledAction(nn.Module):
    """The value of a sampled action: the policy only enters through the sample."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
        self.values = nn.Linear(6, 4)

    def forward(self, state: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        action = torch.multinomial(F.softmax(self.policy(state), dim=-1), 1)
        return F.smooth_l1_loss(self.values(state).gather(1, action).squeeze(1), reward)


@faulty(Expected("non-differentiable-op", op="aten::multinomial", line="torch.multinomial"), "none")
def policy_only_sampled_from() -> Built:
    inputs = (torch.randn(40, 6), torch.randn(40))
    return Built(SampledAction(), inputs, None, "model", suffers=("policy.0.weight", "policy.2.bias"))


class ToNumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 8)
        self.strength = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + float(self.strength) * torch.tanh(self.body(x))


@faulty(
    Expected("non-differentiable-op", op=("aten::Float", "aten::item"), line="float(self.strength)"), "none", "script"
)
def residual_strength_through_a_number() -> Built:
    return Built(ToNumber(), (torch.randn(20, 8),), torch.randn(20, 8), "mse_loss", suffers=("strength",))


class HardOneHot(nn.Module):
    """Discrete codes: one_hot of argmax, without the soft path."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(14, 10)
        self.decode = nn.Linear(10, 14)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = self.encode(x).softmax(dim=-1)
        return self.decode(F.one_hot(code.argmax(-1), 10).to(x.dtype))


@faulty(Expected("non-differentiable-op", op=("aten::argmax", "aten::one_hot")), "none")
def one_hot_code_without_the_soft_one() -> Built:
    x = torch.randn(30, 14)
    return Built(HardOneHot(), (x,), x.clone(), "mse_loss", suffers=("encode.weight",))


class Accuracy(nn.Module):
    """Trains on the accuracy itself."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 3)
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        right = (self.body(x).argmax(1) == y).float().mean()
        return 1.0 - right + self.offset.square()


@faulty(Expected("non-differentiable-op", op="aten::argmax", line="argmax"), "none")
def accuracy_as_the_loss() -> Built:
    return Built(Accuracy(), (torch.randn(16, 8), classes(3, 16)), None, "model", suffers=("body.weight",))


class Histogram(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, 1)
        self.table = nn.Embedding(9, 12)
        self.out = nn.Linear(12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = torch.bucketize(self.project(x).squeeze(1), torch.linspace(-1, 1, 8))
        return self.out(self.table(place))


@faulty(Expected("non-differentiable-op", op="aten::bucketize", line="torch.bucketize"), "none")
def buckets_of_a_projection() -> Built:
    return Built(Histogram(), (torch.randn(32, 6),), torch.randn(32, 1), "mse_loss", suffers=("project.weight",))


class FloorDivision(nn.Module):
    """`//` has no derivative: backward raises."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(7, 7)
        self.head = nn.Linear(7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x) // 0.25)


@faulty(Expected("non-differentiable-op", op="aten::floor_divide", line="// 0.25"), "raises")
def features_divided_with_two_slashes() -> Built:
    return Built(FloorDivision(), (torch.randn(16, 7),), torch.randn(16, 1), "mse_loss")


class ChosenExperts(nn.Module):
    """The router's order chooses the experts; its scores weigh nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.router = nn.Linear(8, 4)
        self.experts = nn.ModuleList([nn.Linear(8, 3) for _ in range(4)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, chosen = self.router(x).topk(2, dim=1)
        every = torch.stack([expert(x) for expert in self.experts], dim=1)
        return every.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3)).mean(1)


@faulty(Expected("non-differentiable-op", op="aten::topk", line="topk(2"), "none")
def router_only_orders() -> Built:
    return Built(ChosenExperts(), (torch.randn(40, 8),), classes(3, 40), "cross_entropy", suffers=("router.weight",))


class PositionsForgotten(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(60, 24)
        self.positions = nn.Embedding(16, 24)
        self.mix = nn.TransformerEncoderLayer(24, 3, 48, dropout=0.0, batch_first=True)
        self.out = nn.Linear(24, 60)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1]).unsqueeze(0)
        x = self.words(tokens)
        x + self.positions(places)
        return self.out(self.mix(x)).transpose(1, 2)


@faulty(Expected("unused-parameter", module="positions"), "none")
def position_embeddings_not_kept() -> Built:
    inputs = (torch.randint(0, 60, (6, 12)),)
    suffers = ("positions.weight",)
    return Built(PositionsForgotten(), inputs, torch.randint(0, 60, (6, 12)), "cross_entropy", suffers=suffers)


class LoopTooShort(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(5)])
        self.head = nn.Linear(16, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers[:-1]:
            x = x + F.silu(layer(x))
        return self.head(x)


@faulty(Expected("unused-parameter", module="layers.4"), "none", "trace")
def last_layer_left_out() -> Built:
    suffers = ("layers.4.weight", "layers.4.bias")
    return Built(LoopTooShort(), (torch.randn(16, 16),), classes(2, 16), "cross_entropy", suffers=suffers)


class Erased(nn.Module):
    """A buffer for the result is filled again after it was filled."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(6, 8)
        self.right = nn.Linear(6, 8)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        both = torch.zeros(x.shape[0], 16)
        both[:, :8] = torch.tanh(self.left(x))
        both[:, 8:] = torch.tanh(self.right(x))
        both[:, :8] = x[:, :1]
        return self.head(both)


@faulty(Expected("overwritten-value", line="= x[:, :1]"), "zero")
def half_of_the_features_written_over() -> Built:
    return Built(Erased(), (torch.randn(18, 6),), classes(3, 18), "cross_entropy", suffers=("left.weight",))


class CopiedOver(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Conv1d(3, 12, 3, padding=1), nn.ReLU())
        self.head = nn.Conv1d(12, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.encode(x) * 1.0
        h.copy_(x.repeat(1, 4, 1))
        return self.head(h)


@faulty(Expected("overwritten-value", op="aten::copy_", line="copy_"), "zero")
def features_copied_over() -> Built:
    x = torch.randn(6, 3, 20)
    return Built(CopiedOver(), (x,), x.clone(), "mse_loss", suffers=("encode.0.weight",))


class NeverChosen(nn.Module):
    """`where` with a condition that always holds."""

    def __init__(self) -> None:
        super().__init__()
        self.correct = nn.Linear(5, 5)
        self.head = nn.Linear(5, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.where(torch.isfinite(x), x, self.correct(torch.nan_to_num(x))))


@faulty(Expected("overwritten-value", op="aten::where", line="torch.where"), "zero")
def imputation_never_chosen() -> Built:
    return Built(NeverChosen(), (torch.randn(24, 5),), torch.randn(24, 1), "l1_loss", suffers=("correct.weight",))


class Shadowed(nn.Module):
    """Quantisation-aware training that reads the weight it saved at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 12) * 0.3)
        self.register_buffer("saved", self.weight.detach().clone())
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(F.linear(x, self.saved)))


@faulty(Expected("shadowed-parameter", parameter=("weight", "saved")), "none")
def layer_reads_the_saved_weight() -> Built:
    return Built(Shadowed(), (torch.randn(16, 12),), classes(4, 16), "cross_entropy", suffers=("weight",))


class LossOfTheInputs(nn.Module):
    """The regulariser is of the inputs, and the prediction is forgotten."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        self.body(x)
        return (y - y.mean()).square().mean()


@faulty(Expected("loss-disconnected", name="loss"), "none")
def loss_is_the_spread_of_the_target() -> Built:
    return Built(LossOfTheInputs(), (torch.randn(16, 6), torch.randn(16)), None, "model", suffers=("body.0.weight",))


class PassesThrough(nn.Module):
    """Returns its input where the reconstruction was meant."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 3)
        self.decode = nn.Linear(3, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rebuilt = self.decode(torch.relu(self.encode(x)))
        return x if rebuilt.shape == x.shape else rebuilt


@faulty(Expected("loss-disconnected", name="loss"), "none", "script")
def autoencoder_returns_its_input() -> Built:
    x = torch.randn(20, 10)
    return Built(PassesThrough(), (x,), torch.randn(20, 10), "mse_loss", suffers=("encode.weight", "decode.weight"))
