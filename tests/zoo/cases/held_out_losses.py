"""Faults of losses and targets that rules were not made with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty
from zoo.truth import gradients, loss_of


def body(inputs: int, outputs: int, *after: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 28), nn.SiLU(), nn.Linear(28, outputs), *after)


def depends_on_another_sample(model: nn.Module, x: torch.Tensor) -> bool:
    """Whether the first sample's output changes when the last sample's input does."""
    torch.manual_seed(0)
    other = x.clone()
    other[-1] = torch.randn_like(other[-1]) * 3
    first = model.double()(x.double())[0]
    changed = bool((first - model(other.double())[0]).abs().max() > 1e-9)
    model.float()
    return changed


@faulty(Expected("double-softmax", module="3"), "told")
def softmax_module_before_cross_entropy() -> Built:
    model = body(11, 6, nn.Softmax(dim=-1))
    return Built(model, (torch.randn(36, 11),), classes(6, 36), "cross_entropy")


class TwiceSquashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.out(F.relu(self.conv(x))))


@faulty(Expected("double-softmax", op="aten::sigmoid", line="torch.sigmoid"), "told")
def sigmoid_mask_into_a_loss_with_logits() -> Built:
    x = torch.randn(5, 2, 10, 10)
    return Built(TwiceSquashed(), (x,), (x[:, :1] > 0).float(), "binary_cross_entropy_with_logits")


class OwnLoss(nn.Module):
    """The same inside a model that returns its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(8, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        probabilities = F.softmax(self.body(x), dim=1)
        return F.cross_entropy(probabilities, y)


@faulty(Expected("double-softmax", op="aten::softmax", line="F.softmax"), "told")
def probabilities_into_the_models_own_loss() -> Built:
    return Built(OwnLoss(), (torch.randn(32, 8), classes(4, 32)), None, "model")


@faulty(Expected("missing-softmax", name="loss"), "told")
def scores_into_negative_log_likelihood() -> Built:
    model = body(9, 5)
    x = torch.randn(30, 9)
    wrong = lambda: bool((model(x).exp().sum(1) - 1).abs().max() > 0.5)  # noqa: E731 - a word for it
    return Built(model, (x,), classes(5, 30), "nll_loss", shown=wrong)


@faulty(Expected("missing-softmax", name="loss"), "told")
def student_probabilities_into_kl_divergence() -> Built:
    model = body(9, 5, nn.Softmax(dim=1))
    wanted = torch.softmax(torch.randn(30, 5), dim=1)
    return Built(model, (torch.randn(30, 9),), wanted, "kl_div", {"log_target": False})


@faulty(Expected("missing-softmax", name="loss"), "raises")
def scores_into_binary_cross_entropy() -> Built:
    y = (torch.rand(30, 1) > 0.5).float()
    return Built(body(9, 1), (torch.randn(30, 9),), y, "binary_cross_entropy")


class WrongSign(nn.Module):
    """A loss that someone turned round to maximise it."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return -F.mse_loss(output, target)


def _falls_without_end(built: Built) -> bool:
    optimizer = torch.optim.SGD(built.model.parameters(), lr=1.0)
    state = {name: each.clone() for name, each in built.model.state_dict().items()}
    for _ in range(60):
        optimizer.zero_grad()
        loss = loss_of(built)
        loss.backward()
        nn.utils.clip_grad_norm_(built.model.parameters(), 5.0)
        optimizer.step()
    built.model.load_state_dict(state)
    return float(loss) < -100


@faulty(Expected("unbounded-loss", name="loss"), "told")
def squared_error_with_the_wrong_sign() -> Built:
    built = Built(body(7, 2), (torch.randn(32, 7),), torch.randn(32, 2), WrongSign())
    built.shown = lambda: _falls_without_end(built)
    return built


class Maximised(nn.Module):
    """Cross entropy returned as a score."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(8, 4)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return -F.cross_entropy(self.body(x), y)


@faulty(Expected("unbounded-loss", name="loss"), "told")
def cross_entropy_with_the_wrong_sign() -> Built:
    built = Built(Maximised(), (torch.randn(32, 8), classes(4, 32)), None, "model")
    built.shown = lambda: _falls_without_end(built)
    return built


class OverBatch(nn.Module):
    """A softmax that forgets that the first dimension is the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(F.softmax(self.body(x), dim=0) + 1e-8)


@faulty(Expected("softmax-dimension", op="aten::softmax", line="dim=0"), "told")
def logarithm_of_a_softmax_over_the_batch() -> Built:
    model = OverBatch()
    x = torch.randn(32, 9)
    return Built(model, (x,), classes(4, 32), "nll_loss", shown=lambda: depends_on_another_sample(model, x))


@faulty(Expected("softmax-dimension", module="2"), "told")
def log_softmax_over_positions_instead_of_classes() -> Built:
    model = nn.Sequential(nn.Embedding(40, 16), nn.Linear(16, 7), nn.LogSoftmax(dim=1), nn.Flatten(0, 1))
    tokens = torch.randint(0, 40, (6, 11))
    wrong = lambda: bool((model(tokens).exp().sum(1) - 1).abs().max() > 0.2)  # noqa: E731 - a word for it
    return Built(model, (tokens,), torch.randint(0, 7, (66,)), "nll_loss", shown=wrong)


class BatchAttention(nn.Module):
    """Scores (batch, heads, query, key) with the softmax over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(12, 36)
        self.out = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        share = nn.functional.softmax(q @ k.transpose(-2, -1) / 3.46, dim=0)
        return self.out((share @ v).mean(1))


@faulty(Expected("softmax-dimension", op="aten::softmax", line="dim=0"), "told")
def attention_scores_over_the_batch() -> Built:
    model = BatchAttention()
    x = torch.randn(8, 6, 12)
    return Built(model, (x,), classes(3, 8), "cross_entropy", shown=lambda: depends_on_another_sample(model, x))


@faulty(Expected("shape-broadcast", name="loss"), "told")
def column_of_targets_against_a_vector() -> Built:
    return Built(body(6, 1, nn.Flatten(0)), (torch.randn(24, 6),), torch.randn(24, 1), "smooth_l1_loss")


class RewardMinusValue(nn.Module):
    """An advantage of shape (N, N): rewards (N,), values (N, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.value = body(6, 1)

    def forward(self, state: torch.Tensor, reward: torch.Tensor) -> torch.Tensor:
        advantage = reward - self.value(state)
        return advantage.pow(2).mean()


@faulty(Expected("shape-broadcast", op="aten::sub", line="reward - self.value"), "told")
def rewards_minus_a_column_of_values() -> Built:
    return Built(RewardMinusValue(), (torch.randn(20, 6), torch.randn(20)), None, "model")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def labels_that_count_from_one() -> Built:
    return Built(body(8, 5), (torch.randn(30, 8),), classes(5, 30) + 1, "cross_entropy")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def minus_one_for_unknown_labels() -> Built:
    y = classes(4, 32)
    y[::7] = -1
    return Built(body(8, 4, nn.LogSoftmax(dim=1)), (torch.randn(32, 8),), y, "nll_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def percentages_as_probabilities() -> Built:
    y = (torch.rand(32, 1) * 100).round()
    return Built(body(8, 1, nn.Sigmoid()), (torch.randn(32, 8),), y, "binary_cross_entropy")


@faulty(Expected("target-out-of-range", name="target"), "told")
def labels_of_minus_one_and_one() -> Built:
    y = torch.where(torch.rand(32, 1) > 0.5, 1.0, -1.0)
    return Built(body(8, 1), (torch.randn(32, 8),), y, "binary_cross_entropy_with_logits")


@faulty(Expected("target-mismatch", name="target"), "raises")
def column_of_class_indices() -> Built:
    return Built(body(8, 4), (torch.randn(32, 8),), classes(4, 32).unsqueeze(1), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def vector_against_a_column_of_logits() -> Built:
    y = (torch.rand(32) > 0.5).float()
    return Built(body(8, 1), (torch.randn(32, 8),), y, "binary_cross_entropy_with_logits")


@faulty(Expected("target-mismatch", name="target"), "raises")
def whole_numbers_for_binary_cross_entropy() -> Built:
    y = (torch.rand(32, 1) > 0.5).long()
    return Built(body(8, 1, nn.Sigmoid()), (torch.randn(32, 8),), y, "binary_cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def mask_with_a_channel_too_many() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    return Built(model, (torch.randn(4, 3, 8, 8),), torch.randint(0, 4, (4, 1, 8, 8)), "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def every_pixel_of_the_masks_is_background() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1))
    return Built(model, (torch.randn(4, 3, 8, 8),), torch.zeros(4, 8, 8, dtype=torch.int64), "cross_entropy")


@faulty(Expected("class-imbalance", name="target"), "told")
def two_of_the_rare_class() -> Built:
    y = torch.zeros(96, dtype=torch.int64)
    y[[10, 50]] = torch.tensor([1, 2])
    return Built(body(8, 3), (torch.randn(96, 8),), y, "cross_entropy")


@faulty(Expected("output-activation-mismatch", module="3"), "told")
def tanh_output_for_pixels() -> Built:
    model = body(8, 12, nn.Tanh())
    return Built(model, (torch.randn(24, 8),), torch.rand(24, 12) * 255, "mse_loss")


class Positive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = body(8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.softplus(self.body(x))


@faulty(Expected("output-activation-mismatch", op="aten::softplus", line="F.softplus"), "told")
def softplus_for_returns_of_either_sign() -> Built:
    return Built(Positive(), (torch.randn(32, 8),), torch.randn(32, 1) * 3, "huber_loss")


@faulty(Expected("flat-loss", name="loss"), "told")
def every_label_ignored() -> Built:
    y = torch.full((24,), -100)
    return Built(body(8, 5), (torch.randn(24, 8),), y, "cross_entropy")


@faulty(Expected("flat-loss", name="loss"), "zero")
def triplets_far_beyond_the_margin() -> Built:
    anchor = body(8, 6)
    x = torch.randn(24, 8)
    target = {"positive": anchor(x).detach() + 0.01, "negative": anchor(x).detach() + 40}
    suffers = ("0.weight", "2.weight")
    return Built(anchor, (x,), target, "triplet_margin_loss", {"margin": 0.5}, suffers=suffers)


class Floored(nn.Module):
    """Free bits: the loss never goes below a floor, and is there already."""

    def __init__(self) -> None:
        super().__init__()
        self.moments = nn.Linear(8, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, log_variance = (0.05 * self.moments(x)).chunk(2, dim=1)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return torch.clamp(divergence, min=2.0)


@faulty(Expected("flat-loss", name="loss"), "zero")
def divergence_below_its_floor() -> Built:
    return Built(Floored(), (torch.randn(24, 8),), None, "model", suffers=("moments.weight", "moments.bias"))


class EmptyMask(nn.Module):
    """The loss of the valid steps, of which there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.body = body(5, 2)

    def forward(self, x: torch.Tensor, y: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
        error = (self.body(x) - y).square().mean(-1) * valid
        return error.sum() / valid.sum().clamp(min=1.0)


@faulty(Expected("flat-loss", name="loss"), "zero")
def loss_of_an_empty_mask() -> Built:
    inputs = (torch.randn(8, 6, 5), torch.randn(8, 6, 2), torch.zeros(8, 6))
    return Built(EmptyMask(), inputs, None, "model", suffers=("body.0.weight", "body.2.bias"))


@faulty(Expected("converged", name="loss"), "zero")
def prediction_is_exactly_the_target() -> Built:
    model = body(8, 3)
    x = torch.randn(24, 8)
    return Built(model, (x,), model(x).detach(), "mse_loss", suffers=("0.weight", "2.weight"))


@faulty(Expected("flat-loss", name="loss"), "told")
def every_segment_ignored() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))
    built = Built(model, (torch.randn(4, 3, 8, 8),), torch.full((4, 8, 8), 255), "cross_entropy", {"ignore_index": 255})
    built.shown = lambda: not any(bool(each.nan_to_num().any()) for each in gradients(built).values())
    return built
