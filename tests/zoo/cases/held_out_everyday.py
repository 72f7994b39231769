"""Faults as they happen on an ordinary day, one of most codes, in models that rules were not made with."""

from __future__ import annotations

import math
import warnings

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty


class Recommender(nn.Module):
    """Two towers; the item tower's result was meant for a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(50, 16)
        self.items = nn.Embedding(70, 16)
        self.user_tower = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.item_tower = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        u = self.user_tower(self.users(user))
        with torch.no_grad():
            i = self.item_tower(self.items(item))
        return (u * i).sum(-1)


@faulty(Expected("detached-graph"), "none", "script")  # a trace does not record no_grad
def recommender_with_cached_items() -> Built:
    user, item = torch.randint(50, (24,)), torch.randint(70, (24,))
    suffers = ("items.weight", "item_tower.0.weight", "item_tower.2.bias")
    return Built(
        Recommender(), (user, item), (torch.rand(24) > 0.5).float(), "binary_cross_entropy_with_logits", suffers=suffers
    )


class HardAttention(nn.Module):
    """Picks the best patch by argmax."""

    def __init__(self) -> None:
        super().__init__()
        self.scorer = nn.Linear(12, 1)
        self.value = nn.Linear(12, 20)
        self.head = nn.Linear(20, 4)

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        best = self.scorer(patches).squeeze(-1).argmax(1)
        chosen = patches[torch.arange(patches.size(0)), best]
        return self.head(torch.relu(self.value(chosen)))


@faulty(Expected("non-differentiable-op", op="aten::argmax"), "none")
def patches_chosen_by_argmax() -> Built:
    return Built(
        HardAttention(), (torch.randn(16, 9, 12),), classes(4, 16), "cross_entropy", suffers=("scorer.weight",)
    )


class Counted(nn.Module):
    """A loss on how many are above the threshold."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 1))

    def forward(self, x: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        score = self.net(x).squeeze(1)
        share = (score > 0).to(x.dtype).mean()
        return (share - wanted.mean()) ** 2


@faulty(Expected("non-differentiable-op", op="aten::gt"), "none")
def loss_on_a_count() -> Built:
    return Built(Counted(), (torch.randn(20, 6), torch.rand(20)), None, "model", suffers=("net.0.weight", "net.2.bias"))


class TwoHeads(nn.Module):
    """A second head that nobody connected."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(3, 12, 5, padding=2), nn.BatchNorm1d(12), nn.ReLU())
        self.coarse = nn.Linear(12, 3)
        self.fine = nn.Linear(12, 9)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.stem(x).mean(2)
        return self.coarse(h), self.fine(h)


@faulty(Expected("unused-parameter", module="fine"), "none")
def the_loss_reads_one_head() -> Built:
    return Built(
        TwoHeads(),
        (torch.randn(12, 3, 30),),
        classes(3, 12),
        "cross_entropy",
        output="0",
        suffers=("fine.weight", "fine.bias"),
    )


class Accumulated(nn.Module):
    """Writes each head's logits into a buffer, always to the same columns."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(10, 16)
        self.first = nn.Linear(16, 5)
        self.second = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.silu(self.trunk(x))
        logits = torch.zeros(x.size(0), 5)
        logits[:, :] = self.first(h)
        logits[:, :] = self.second(h)
        return logits


@faulty(Expected("overwritten-value"), "zero")
def second_head_writes_over_the_first() -> Built:
    return Built(Accumulated(), (torch.randn(15, 10),), classes(5, 15), "cross_entropy", suffers=("first.weight",))


class Quantised(nn.Module):
    """Rounds its code without a straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 40), nn.ELU(), nn.Linear(40, 6))
        self.decoder = nn.Sequential(nn.Linear(6, 40), nn.ELU(), nn.Linear(40, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        code = torch.round(self.encoder(x) * 8) / 8
        return self.decoder(code)


@faulty(Expected("zero-derivative-op", op="aten::round"), "zero")
def code_rounded_to_eighths() -> Built:
    x = torch.randn(18, 20)
    return Built(Quantised(), (x,), x.clone(), "mse_loss", suffers=("encoder.0.weight", "encoder.2.bias"))


class Spiking(nn.Module):
    """Spikes by the sign of the membrane."""

    def __init__(self) -> None:
        super().__init__()
        self.synapse = nn.Linear(8, 30)
        self.readout = nn.Linear(30, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spikes = (torch.sign(self.synapse(x) - 0.1) + 1) / 2
        return self.readout(spikes)


@faulty(Expected("zero-derivative-op", op="aten::sign"), "zero")
def spikes_by_sign() -> Built:
    return Built(Spiking(), (torch.randn(16, 8),), classes(4, 16), "cross_entropy", suffers=("synapse.weight",))


class DeepConv(nn.Module):
    """A block whose convolution has learnt a bias far below zero."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(3, 8, 3, padding=1)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.three = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)
        with torch.no_grad():
            self.two.bias.sub_(30.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.act(self.one(x))
        x = F.relu_(self.two(x))
        x = self.act(self.three(x))
        return self.head(x.mean((2, 3)))


@faulty(Expected("dead-relu", line="F.relu_(self.two(x))"), "zero")
def middle_convolution_is_dead() -> Built:
    return Built(
        DeepConv(), (torch.randn(8, 3, 16, 16),), classes(5, 8), "cross_entropy", suffers=("one.weight", "two.weight")
    )


class Gate(nn.Module):
    """A gated unit whose gate's logits are scaled by 200."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Linear(14, 28)
        self.gate = nn.Linear(14, 28)
        self.out = nn.Linear(28, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(x) * 2000.0)
        return self.out(self.value(x) * gate)


@faulty(Expected("saturated-activation", op="aten::sigmoid"), "told")
def gate_with_a_temperature_upside_down() -> Built:
    return Built(Gate(), (torch.randn(16, 14),), classes(3, 16), "cross_entropy")


class Bounded(nn.Module):
    """Log-variance clipped where it never is."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(7, 32), nn.ReLU())
        self.mean = nn.Linear(32, 1)
        self.log_variance = nn.Linear(32, 1)
        with torch.no_grad():
            self.log_variance.bias.fill_(9.0)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = self.body(x)
        log_variance = self.log_variance(h).clamp(-4.0, 4.0)
        return 0.5 * ((y - self.mean(h)) ** 2 * torch.exp(-log_variance) + log_variance).mean()


@faulty(Expected("clamp-saturation", op="aten::clamp"), "zero")
def log_variance_clipped_away() -> Built:
    inputs = (torch.randn(30, 7), torch.randn(30, 1))
    return Built(Bounded(), inputs, None, "model", suffers=("log_variance.weight", "log_variance.bias"))


class LoudAttention(nn.Module):
    """Attention without its scale, and projections that grew."""

    def __init__(self) -> None:
        super().__init__()
        self.q = nn.Linear(64, 64)
        self.k = nn.Linear(64, 64)
        self.v = nn.Linear(64, 64)
        self.head = nn.Linear(64, 6)
        with torch.no_grad():
            self.q.weight.mul_(12)
            self.k.weight.mul_(12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2)
        return self.head((F.softmax(scores, dim=-1) @ self.v(x)).mean(1))


@faulty(Expected("saturated-softmax", op="aten::softmax"), "told")
def attention_without_scale_and_loud_projections() -> Built:
    return Built(LoudAttention(), (torch.randn(6, 10, 64),), classes(6, 6), "cross_entropy")


class Residual(nn.Module):
    """A plain (not residual) stack behind a scale that was initialised with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(9, 18), nn.ReLU(), nn.Linear(18, 18))
        self.scale = nn.Parameter(torch.zeros(18), requires_grad=False)
        self.head = nn.Linear(18, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(x) * self.scale)


@faulty(Expected("zero-weights", parameter="scale"), "zero")
def frozen_scale_of_zeros() -> Built:
    return Built(
        Residual(), (torch.randn(14, 9),), classes(2, 14), "cross_entropy", suffers=("inner.0.weight", "inner.2.weight")
    )


class Fusion(nn.Module):
    """Image and text; the loader left the text features out."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(16, 24)
        self.text = nn.Linear(12, 24, bias=False)
        self.head = nn.Linear(48, 3)

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([F.relu(self.image(image)), torch.tanh(self.text(text))], -1))


@faulty(Expected("zero-input", name="input:1"), "zero")
def text_features_missing() -> Built:
    return Built(
        Fusion(), (torch.randn(10, 16), torch.zeros(10, 12)), classes(3, 10), "cross_entropy", suffers=("text.weight",)
    )


class Constant(nn.Module):
    """Hidden layers set to one constant each."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(5, 12)
        self.b = nn.Linear(12, 12)
        self.c = nn.Linear(12, 1)
        for layer in (self.a, self.b, self.c):
            nn.init.constant_(layer.weight, 0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


@faulty(Expected("symmetric-weights"), "told")
def every_layer_one_constant() -> Built:
    return Built(Constant(), (torch.randn(20, 5),), torch.randn(20, 1), "mse_loss")


class Masked(nn.Module):
    """The padding mask is inverted for these sequences."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(30, 16, padding_idx=0)
        self.mix = nn.Linear(16, 16)
        self.side = nn.Linear(4, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
        mask = (ids == 0).to(extra.dtype).unsqueeze(-1)
        pooled = (self.mix(self.embed(ids)) * mask).sum(1)
        return self.head(pooled + self.side(extra))


@faulty(Expected("zero-multiplier", op="aten::mul"), "zero")
def mask_is_the_wrong_way_round() -> Built:
    inputs = (torch.randint(1, 30, (9, 7)), torch.randn(9, 4))
    return Built(Masked(), inputs, classes(3, 9), "cross_entropy", suffers=("mix.weight", "embed.weight"))


class OneChannel(nn.Module):
    """Softmax over a dimension of one."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(11, 22), nn.ReLU(), nn.Linear(22, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.net(x), dim=1)


@faulty(Expected("degenerate-normalization", op="aten::softmax"), "zero")
def binary_output_through_softmax() -> Built:
    target = classes(2, 16).float().unsqueeze(1)
    return Built(OneChannel(), (torch.randn(16, 11),), target, "binary_cross_entropy", suffers=("net.0.weight",))


class Ranked(nn.Module):
    """A margin that every pair keeps already."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 1))

    def forward(self, better: torch.Tensor, worse: torch.Tensor) -> torch.Tensor:
        gap = self.score(better) - self.score(worse)
        return F.relu(gap - 50.0).mean()


@faulty(Expected("flat-loss", name="loss"), "zero")
def margin_that_nobody_breaks() -> Built:
    return Built(
        Ranked(), (torch.randn(12, 6), torch.randn(12, 6)), None, "model", suffers=("score.0.weight", "score.2.weight")
    )


class Tower(nn.Module):
    """Two dozen sigmoid layers without anything that helps."""

    def __init__(self, depth: int = 24) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(32, 32) for _ in range(depth)])
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.sigmoid(layer(x))
        return self.head(x)


@faulty(Expected("vanishing-gradient"), "tiny")
def tower_of_sigmoids() -> Built:
    return Built(Tower(), (torch.randn(16, 32),), classes(4, 16), "cross_entropy", suffers=("layers.0.weight",))


class Growing(nn.Module):
    """A recurrent loop whose matrix has eigenvalues far above one."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(4, 24)
        self.again = nn.Linear(24, 24, bias=False)
        self.head = nn.Linear(24, 1)
        nn.init.orthogonal_(self.again.weight, gain=2.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 24)
        for t in range(x.size(1)):
            h = self.enter(x[:, t]) + self.again(h)
        return self.head(h)


@faulty(Expected("exploding-gradient"), "told")
def recurrence_that_grows() -> Built:
    return Built(Growing(), (torch.randn(8, 25, 4),), torch.randn(8, 1), "mse_loss")


class Wide(nn.Module):
    """Weights drawn from N(0, 1), as old tutorials do."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = nn.Sequential(*(part for _ in range(10) for part in (nn.Linear(96, 96), nn.ReLU())))
        self.head = nn.Linear(96, 1)
        for each in self.stack:
            if isinstance(each, nn.Linear):
                nn.init.normal_(each.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stack(x))


@faulty(Expected("poor-initialization"), "told")
def weights_from_a_unit_normal() -> Built:
    return Built(Wide(), (torch.randn(16, 96),), torch.randn(16, 1), "mse_loss")


class Cosine(nn.Module):
    """Normalises by hand, and one row is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(10, 16, bias=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.project(x)
        return self.head(z / z.norm(2.0, dim=1, keepdim=True))


@faulty(Expected("non-finite-forward", op="aten::div"), "non-finite")
def empty_row_divided_by_its_norm() -> Built:
    x = torch.randn(12, 10)
    x[7] = 0
    return Built(Cosine(), (x,), classes(3, 12), "cross_entropy", suffers=("project.weight", "head.weight"))


class Distance(nn.Module):
    """Distances of every point to every point: the diagonal is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.embed(x)
        squared = (z.unsqueeze(0) - z.unsqueeze(1)).pow(2).sum(-1)
        return torch.sqrt(squared)


@faulty(Expected("non-finite-backward", op="aten::sqrt"), "non-finite")
def distances_with_a_diagonal() -> Built:
    target = torch.rand(9, 9)
    return Built(Distance(), (torch.randn(9, 5),), target, "mse_loss", suffers=("embed.0.weight",))


class Entropy(nn.Module):
    """p log p by hand, with probabilities that underflow to zero."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(6, 5)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = torch.softmax(self.net(x) * 300, -1)
        entropy = -(p * torch.log(p)).sum(-1)
        return F.nll_loss(torch.log_softmax(self.net(x), -1), y) + 0.1 * entropy.mean()


@faulty(Expected("non-finite-forward"), "non-finite")
def entropy_by_hand() -> Built:
    return Built(Entropy(), (torch.randn(16, 6) * 3, classes(5, 16)), None, "model", suffers=("net.weight",))


class Poisoned(nn.Module):
    """A checkpoint after the explosion: one weight is NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.features[2].weight[1, 2, 0, 0] = math.nan

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).mean((2, 3)))


@faulty(Expected("non-finite-parameter", parameter="features.2.weight"), "non-finite")
def checkpoint_after_the_explosion() -> Built:
    return Built(
        Poisoned(), (torch.randn(6, 1, 12, 12),), classes(3, 6), "cross_entropy", suffers=("features.0.weight",)
    )


class Classifier(nn.Module):
    """Ends with a softmax, as an inference model does."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(7, 20, batch_first=True)
        self.head = nn.Linear(20, 4)
        self.final = nn.Softmax(dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.final(self.head(self.lstm(x)[0][:, -1]))


@faulty(Expected("double-softmax", op="aten::softmax"), "told")
def lstm_classifier_with_softmax() -> Built:
    return Built(Classifier(), (torch.randn(12, 9, 7),), classes(4, 12), "cross_entropy")


@faulty(Expected("missing-softmax", name="loss"), "told")
def nll_on_logits_of_a_convolution() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    return Built(model, (torch.randn(8, 3, 10, 10),), classes(4, 8), "nll_loss")


class Reward(nn.Module):
    """A squared error, negated as if it were a reward."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = F.mse_loss(self.net(x), y)
        return -error


@faulty(Expected("unbounded-loss", name="loss"), "told")
def error_with_the_sign_of_a_reward() -> Built:
    return Built(Reward(), (torch.randn(20, 5), torch.randn(20, 1)), None, "model")


class BatchSoftmax(nn.Module):
    """Softmax over dim 0 because the tutorial had no batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(self.net(x), dim=0)


@faulty(Expected("softmax-dimension", op="aten::log_softmax"), "told")
def log_softmax_over_the_batch() -> Built:
    return Built(BatchSoftmax(), (torch.randn(15, 8),), classes(5, 15), "nll_loss")


@faulty(Expected("shape-broadcast"), "told")
def regression_against_a_flat_target() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.SiLU(), nn.Linear(30, 1))
    return Built(model, (torch.randn(25, 9),), torch.randn(25), "smooth_l1_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def labels_counted_from_one() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), classes(6, 18) + 1, "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def labels_as_floats() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), classes(6, 18).float(), "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def every_label_the_same() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 6))
    return Built(model, (torch.randn(18, 9),), torch.full((18,), 2), "cross_entropy")


@faulty(Expected("class-imbalance", name="target"), "told")
def one_in_a_hundred() -> Built:
    model = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 1), nn.Flatten(0))
    target = torch.zeros(128)
    target[5] = 1.0
    return Built(model, (torch.randn(128, 6),), target, "binary_cross_entropy_with_logits")


class Temperature(nn.Module):
    """Regresses degrees Celsius through a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(3, 16, batch_first=True)
        self.out = nn.Linear(16, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.out(self.gru(x)[0][:, -1]))


@faulty(Expected("output-activation-mismatch", op="aten::sigmoid"), "told")
def degrees_through_a_sigmoid() -> Built:
    return Built(Temperature(), (torch.randn(20, 12, 3),), 15 + 8 * torch.randn(20, 1), "mse_loss")


@faulty(Expected("unscaled-input", name="input:0"), "told")
def pixels_as_they_come() -> Built:
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 64), nn.Tanh(), nn.Linear(64, 5))
    return Built(model, (torch.randint(0, 256, (24, 1, 12, 12)).float(),), classes(5, 24), "cross_entropy")


class Sensors(nn.Module):
    """Two sources; one sensor is stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(8, 16)
        self.right = nn.Linear(8, 16)
        self.head = nn.Linear(32, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(torch.cat([self.left(left), self.right(right)], 1)))


@faulty(Expected("constant-input", name="input:1"), "told")
def one_sensor_is_stuck() -> Built:
    stuck = torch.randn(1, 8).expand(20, 8).clone()
    return Built(Sensors(), (torch.randn(20, 8), stuck), torch.randn(20, 1), "mse_loss")


@faulty(Expected("duplicate-samples"), "told")
def a_sampler_that_repeats() -> Built:
    model = nn.Sequential(nn.Linear(9, 30), nn.ReLU(), nn.Linear(30, 4))
    rows = torch.randn(5, 9)
    return Built(model, (rows[classes(5, 30)],), classes(5, 30) % 4, "cross_entropy")


class Dropped(nn.Module):
    """keep_prob given as the rate."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(12, 64)
        self.drop = nn.Dropout(0.95)
        self.b = nn.Linear(64, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.drop(F.gelu(self.a(x))))


@faulty(Expected("excessive-dropout", module="drop"), "told")
def keep_rate_given_as_dropout() -> Built:
    return Built(Dropped(), (torch.randn(32, 12),), classes(4, 32), "cross_entropy")


class NoActivation(nn.Module):
    """An MLP without activations."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(10, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc3(self.fc2(self.fc1(x)))


@faulty(Expected("linear-collapse"), "told")
def three_layers_and_no_activation() -> Built:
    return Built(NoActivation(), (torch.randn(32, 10),), classes(2, 32), "cross_entropy")


class Mixed(nn.Module):
    """A reshape where a transpose was needed: (T, B, F) read as (B, T, F)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 12)
        self.head = nn.Linear(12 * 5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.embed(x)).transpose(0, 1).contiguous()
        return self.head(h.view(x.size(0), -1))


@faulty(Expected("sample-leak"), "told")
def time_and_batch_mixed_up() -> Built:
    return Built(Mixed(), (torch.randn(8, 5, 6),), classes(3, 8), "cross_entropy")


@faulty(Expected("batch-too-small"), "raises", "script")
def one_sample_through_batch_norm() -> Built:
    model = nn.Sequential(nn.Linear(6, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 3))
    return Built(model, (torch.randn(1, 6),), classes(3, 1), "cross_entropy")


@faulty(Expected("inference-trace"), "told", "trace")
def exported_for_inference() -> Built:
    model = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 3)).eval()
    return Built(model, (torch.randn(16, 6),), classes(3, 16), "cross_entropy")


class HalfExp(nn.Module):
    """Exponentiates in half precision."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(8, 8).half()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.exp(self.net(x.half()) * 8).float().log1p()


@faulty(Expected("overflow-low-precision", op="aten::exp"), "told")
def exp_in_half_precision() -> Built:
    return Built(HalfExp(), (torch.randn(16, 8) * 3,), torch.randn(16, 8), "mse_loss")


class Reciprocal(nn.Module):
    """Divides by a learnt number that is nearly zero for one sample."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 12)
        self.b = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.a(x)) * scale
        return self.b(h / (h.pow(2).sum(1, keepdim=True) + 1e-20).sqrt())


@faulty(Expected("ill-conditioned-op"), "told")
def nearly_empty_sample_normalised() -> Built:
    scale = torch.ones(12, 1)
    scale[4] = 1e-8
    return Built(Reciprocal(), (torch.randn(12, 6), scale), classes(3, 12), "cross_entropy")


class Clipped(nn.Module):
    """The clipped ratio of PPO: within the clip both sides tie, and the optimising executor drops ties."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 4))

    def forward(
        self, state: torch.Tensor, action: torch.Tensor, before: torch.Tensor, gain: torch.Tensor
    ) -> torch.Tensor:
        now = F.log_softmax(self.net(state), -1).gather(1, action.unsqueeze(1)).squeeze(1)
        ratio = torch.exp(now - before)
        return -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()


@faulty(Expected("executor-dependent", op="aten::min"), "told")
def clipped_policy_ratio() -> Built:
    torch.manual_seed(5)
    model = Clipped()
    state, action = torch.randn(48, 6), classes(4, 48)
    with torch.no_grad():
        before = F.log_softmax(model.net(state), -1).gather(1, action.unsqueeze(1)).squeeze(1)
    inputs = (state, action, before + 0.05 * torch.randn(48), torch.randn(48))
    return Built(model, inputs, None, "model", shown=lambda: _is_lost(model, inputs))


def _is_lost(model: nn.Module, inputs: tuple[torch.Tensor, ...]) -> bool:
    """Whether training the script in the default executor comes to get no gradient at all."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.script(model)
    for _ in range(3):
        script.zero_grad()
        script(*inputs).backward()
    return not any(bool(parameter.grad.any()) for parameter in script.parameters())
