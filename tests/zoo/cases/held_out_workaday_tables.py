"""Networks for tables and decisions as people write them, each with one fault; written before any rule saw them."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


def mlp(*widths: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), act()]
    return nn.Sequential(*layers[:-1])


@faulty(Expected("shape-broadcast", name="loss"), "told")
def regression_forgets_to_squeeze() -> Built:
    return Built(mlp(8, 32, 1), (torch.randn(24, 8),), torch.randn(24), "mse_loss")


@faulty(Expected("unbounded-loss", name="loss"), "told")
def reward_is_minimised_instead_of_cost() -> Built:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(8, 32, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return -F.mse_loss(self.net(x), y)

    return Built(Agent(), (torch.randn(24, 8), torch.randn(24, 1)), None, "model")


@faulty(Expected("flat-loss", name="loss"), "zero")
def hinge_with_every_margin_kept() -> Built:
    class Hinge(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(8, 16, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            score = self.net(x).squeeze(-1) * 0.01
            return torch.clamp(-1.0 - y * score, min=0).mean()

    inputs = (torch.randn(24, 8), (torch.arange(24) % 2 * 2 - 1).float())
    return Built(Hinge(), inputs, None, "model", suffers=("net.0.weight",))


@faulty(Expected("output-activation-mismatch"), "told")
def sigmoid_for_house_prices() -> Built:
    class Priced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(8, 32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.net(x))

    return Built(Priced(), (torch.randn(24, 8),), torch.rand(24, 1) * 400 + 100, "l1_loss")


@faulty(Expected("class-imbalance", name="target"), "told")
def fraud_is_one_in_a_hundred_rows() -> Built:
    target = torch.zeros(128, 1)
    target[17] = 1.0
    return Built(mlp(10, 32, 1), (torch.randn(128, 10),), target, "binary_cross_entropy_with_logits")


@faulty(Expected("constant-target", name="target"), "told")
def every_row_has_the_same_price() -> Built:
    return Built(mlp(10, 32, 1), (torch.randn(32, 10),), torch.full((32, 1), 3.5), "smooth_l1_loss")


@faulty(Expected("target-mismatch", name="target"), "raises")
def one_hot_integers_into_cross_entropy() -> Built:
    target = F.one_hot(classes(4, 16), 4)
    return Built(mlp(10, 32, 4), (torch.randn(16, 10),), target, "cross_entropy")


@faulty(Expected("duplicate-samples", name="input:0"), "told")
def batch_is_one_row_repeated() -> Built:
    rows = torch.randn(4, 10).repeat(8, 1)
    return Built(mlp(10, 32, 1), (rows,), torch.randn(32, 1), "mse_loss")


@faulty(Expected("constant-input", name="input:1"), "told")
def side_features_never_change() -> Built:
    class TwoInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main = nn.Linear(10, 16)
            self.side = nn.Linear(6, 16)
            self.out = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor, side: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.main(x) + self.side(side)))

    inputs = (torch.randn(24, 10), torch.randn(1, 6).expand(24, 6).contiguous())
    return Built(TwoInputs(), inputs, torch.randn(24, 1), "mse_loss")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def incomes_ages_and_years_as_they_are() -> Built:
    rows = torch.stack(
        [torch.rand(32) * 90000 + 10000, torch.rand(32) * 60 + 20, torch.randint(1990, 2024, (32,)).float()], dim=1
    )
    model = mlp(3, 32, 32, 1, act=nn.Tanh)
    return Built(model, (rows,), torch.randn(32, 1), "mse_loss")


@faulty(Expected("non-finite-input", name="input:0"), "non-finite")
def gaps_in_a_table_left_as_nan() -> Built:
    rows = torch.randn(32, 10)
    rows[7, 3] = float("nan")
    return Built(mlp(10, 32, 1), (rows,), torch.randn(32, 1), "mse_loss", suffers=("0.weight",))


@faulty(Expected("non-finite-parameter", parameter="2.weight"), "non-finite")
def checkpoint_with_a_nan_weight() -> Built:
    model = mlp(10, 32, 16, 1)
    with torch.no_grad():
        model[2].weight[3, 3] = float("nan")
    return Built(model, (torch.randn(32, 10),), torch.randn(32, 1), "mse_loss", suffers=("2.weight",))


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(12, 24)
        self.mu = nn.Linear(24, 4)
        self.log_var = nn.Linear(24, 4)
        self.decoder = mlp(4, 24, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.encoder(x))
        mu, log_var = self.mu(h), self.log_var(h)
        z = torch.normal(mu, torch.exp(0.5 * log_var))
        recon = self.decoder(z)
        return F.mse_loss(recon, x)


@faulty(Expected("zero-derivative-op", op="aten::normal"), "zero")
def latent_drawn_with_torch_normal() -> Built:
    return Built(Variational(), (torch.randn(16, 12),), None, "model", suffers=("encoder.weight", "mu.weight"))


class ExpLikelihood(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 16)
        self.rate = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rate = torch.exp(self.rate(torch.relu(self.body(x))) * 100)
        return (rate - y * torch.log(rate)).mean()


@faulty(Expected("non-finite-forward", op="aten::exp", line="torch.exp"), "non-finite")
def rate_of_a_point_process_overflows() -> Built:
    inputs = (torch.randn(32, 10) * 8, torch.randint(0, 5, (32, 1)).float())
    return Built(ExpLikelihood(), inputs, None, "model", suffers=("body.weight",))


class BinaryByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(10, 16, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = torch.sigmoid(self.body(x) * 4000)
        return -(y * torch.log(p) + (1 - y) * torch.log(1 - p)).mean()


@faulty(Expected("non-finite-forward", op="aten::log"), "non-finite")
def cross_entropy_by_hand_meets_a_certain_answer() -> Built:
    x = torch.randn(32, 10)
    y = (torch.arange(32) % 2).float().unsqueeze(1)
    return Built(BinaryByHand(), (x, y), None, "model", suffers=("body.0.weight",))


class SpikingNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(10, 20)
        self.out = nn.Linear(20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        membrane = torch.zeros(x.size(0), 20)
        spikes = torch.zeros(x.size(0), 20)
        current = self.inp(x)
        for _ in range(4):
            membrane = 0.9 * membrane + current
            fired = (membrane > 1.0).float()
            membrane = membrane - fired
            spikes = spikes + fired
        return self.out(spikes)


@faulty(Expected("non-differentiable-op", op="aten::gt", line="membrane > 1.0"), "none")
def spikes_without_a_surrogate() -> Built:
    return Built(SpikingNet(), (torch.randn(12, 10),), classes(3, 12), "cross_entropy", suffers=("inp.weight",))


class BinaryNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 32)
        self.fc2 = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch.sign(self.fc1.weight)
        return self.fc2(F.hardtanh(F.linear(x, weight, self.fc1.bias) / 4))


@faulty(Expected("zero-derivative-op", op="aten::sign"), "zero")
def weights_binarised_without_straight_through() -> Built:
    return Built(BinaryNet(), (torch.randn(12, 10),), classes(3, 12), "cross_entropy", suffers=("fc1.weight",))


class QNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 32, 32)
        self.q = nn.Linear(32, 4)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        q = self.q(F.relu(self.body(state)))
        return q.argmax(dim=1).float()


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none")
def best_action_where_its_value_was_meant() -> Built:
    return Built(QNetwork(), (torch.randn(12, 6),), torch.rand(12) * 3, "mse_loss", suffers=("q.weight",))


class TargetUpdate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Linear(6, 8)
        self.register_buffer("snapshot", self.online.weight.detach().clone())
        self.out = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(F.linear(x, self.snapshot, self.online.bias)))


@faulty(Expected("shadowed-parameter", parameter="online.weight"), "none")
def snapshot_used_in_place_of_the_weight() -> Built:
    return Built(TargetUpdate(), (torch.randn(12, 6),), torch.randn(12, 1), "mse_loss", suffers=("online.weight",))


@faulty(Expected("frozen-parameter"), "untrainable")
def all_frozen_and_the_new_head_too() -> Built:
    model = mlp(10, 32, 3)
    for each in model.parameters():
        each.requires_grad_(False)  # noqa: FBT003 - torch's own spelling
    return Built(model, (torch.randn(12, 10),), classes(3, 12), "cross_entropy")


class Policy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(6, 32, 32)
        self.log_std = nn.Linear(32, 2)
        self.mean = nn.Linear(32, 2)

    def forward(self, state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.body(state))
        log_std = torch.clamp(self.log_std(h), -20.0, -5.0)
        z = (action - self.mean(h)) * torch.exp(-log_std)
        return (0.5 * z**2 + log_std).mean()


@faulty(Expected("clamp-saturation", op="aten::clamp"), "zero")
def log_deviation_clamped_to_the_wrong_range() -> Built:
    inputs = (torch.randn(16, 6), torch.randn(16, 2))
    return Built(Policy(), inputs, None, "model", suffers=("log_std.weight",))


class HalfNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 64).half()
        self.fc2 = nn.Linear(64, 1).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.fc1(x.half())) * 300
        return self.fc2(h * h).float()


@faulty(Expected("overflow-low-precision", op="aten::mul"), "non-finite")
def energies_squared_in_half_precision() -> Built:
    return Built(HalfNet(), (torch.randn(16, 10),), torch.randn(16, 1), "mse_loss", suffers=("fc1.weight",))


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(10, 8)
        self.bn = nn.BatchNorm1d(8)
        self.out = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.bn(self.fc(x))))


@faulty(Expected("batch-too-small", module="bn"), "raises", "script")
def last_batch_of_one_row() -> Built:
    return Built(Normed(), (torch.randn(1, 10),), torch.randn(1, 1), "mse_loss")


@faulty(Expected("vanishing-gradient", module="0"), "tiny")
def forty_tanh_layers_with_small_weights_by_default() -> Built:
    model = mlp(10, *[24] * 40, 1, act=nn.Tanh)
    return Built(model, (torch.randn(16, 10),), torch.randn(16, 1), "mse_loss", suffers=("0.weight",))


@faulty(Expected("exploding-gradient"), "huge")
def residual_tower_without_normalisation() -> Built:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(10, 32)
            self.blocks = nn.ModuleList([nn.Linear(32, 32) for _ in range(24)])
            self.out = nn.Linear(32, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.inp(x)
            for block in self.blocks:
                x = x + 2.0 * torch.relu(block(x))
            return self.out(x)

    model = Tower()
    for each in model.blocks:
        nn.init.orthogonal_(each.weight)
    return Built(model, (torch.randn(16, 10),), torch.randn(16, 1), "mse_loss", suffers=("inp.weight",))
