"""Targets that do not fit their loss, shapes that spread out silently, and losses that are flat or have no bottom."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


class Body(nn.Module):
    """A small perceptron, for subclasses that differ in their loss."""

    def __init__(self, inputs: int = 7, outputs: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 18), nn.SiLU(), nn.Linear(18, outputs))


class Plain(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Vector(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x).squeeze(1)


def x(batch: int = 36) -> torch.Tensor:
    return torch.randn(batch, 7)


# Out of range.


@faulty(Expected("target-out-of-range", name="target"), "raises")
def classes_counted_from_one() -> Built:
    return Built(nn.Sequential(Plain(), nn.LogSoftmax(1)), (x(),), classes(3, 36) + 1, "nll_loss")


@faulty(Expected("target-out-of-range", name="target"), "told")
def labels_of_both_signs_into_binary_cross_entropy() -> Built:
    return Built(Vector(), (x(),), classes(2, 36).float() * 2 - 1, "binary_cross_entropy_with_logits")


@faulty(Expected("target-out-of-range", name="target"), "told")
def zero_and_one_into_a_margin() -> Built:
    return Built(Vector(), (x(),), classes(2, 36).float(), "soft_margin_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def void_pixels_without_ignore_index() -> Built:
    y = torch.randint(0, 5, (4, 8, 8))
    y[:, 0] = 255
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 5, 1))
    return Built(model, (torch.randn(4, 3, 8, 8),), y, "cross_entropy")


class OwnClasses(Body):
    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.body(x), label)


@faulty(Expected("target-out-of-range", name="input:1"), "raises", "script")
def own_loss_with_a_padding_label() -> Built:
    y = classes(3, 36)
    y[5] = -1
    return Built(OwnClasses(), (x(), y), None, "model")


# Refused.


@faulty(Expected("target-mismatch", name="target"), "raises")
def column_of_classes() -> Built:
    return Built(Plain(), (x(),), classes(3, 36).unsqueeze(1), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def classes_last_in_a_sequence() -> Built:
    return Built(Plain(), (torch.randn(6, 11, 7),), torch.randint(0, 3, (6, 11)), "cross_entropy")


@faulty(Expected("target-mismatch", name="target"), "raises")
def vector_of_labels_for_a_column() -> Built:
    model = nn.Sequential(nn.Linear(7, 1))
    return Built(model, (x(),), classes(2, 36).float(), "binary_cross_entropy_with_logits")


@faulty(Expected("target-mismatch", name="target"), "raises")
def classes_in_thirty_two_bits() -> Built:
    return Built(Plain(), (x(),), classes(3, 36).int(), "cross_entropy")


@faulty(Expected("target-mismatch", name="input:1"), "raises", "script")
def own_loss_with_float_classes() -> Built:
    return Built(OwnClasses(), (x(), classes(3, 36).float()), None, "model")


# Spread out.


@faulty(Expected("shape-broadcast", name="loss"), "told")
def vector_against_column() -> Built:
    return Built(Vector(), (x(),), torch.randn(36, 1), "smooth_l1_loss")


class OwnSquares(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((y - self.body(x)) ** 2).mean()


@faulty(Expected("shape-broadcast", op="aten::sub", line="y - self.body(x)"), "told")
def own_squares_of_vector_and_column() -> Built:
    return Built(OwnSquares(), (x(), torch.randn(36)), None, "model")


class OwnMseLoss(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y)


@faulty(Expected("shape-broadcast", name="loss"), "told")
def own_mse_loss_of_vector_and_column() -> Built:
    return Built(OwnMseLoss(), (x(), torch.randn(36)), None, "model")


class SegmentationL1(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@faulty(Expected("shape-broadcast", name="loss"), "told")
def depth_maps_without_a_channel() -> Built:
    return Built(SegmentationL1(), (torch.randn(5, 2, 8, 8),), torch.rand(5, 8, 8), "l1_loss")


class WeightedLoss(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        error = (self.body(x) - y.unsqueeze(1)).abs()
        return (error * weight).mean()


@faulty(Expected("shape-broadcast", op="aten::mul", line="error * weight"), "told")
def sample_weights_spread_over_errors() -> Built:
    return Built(WeightedLoss(), (x(), torch.randn(36), torch.rand(36)), None, "model")


# Flat.


@faulty(Expected("flat-loss", name="loss"), "told")
def only_padding_in_the_batch() -> Built:
    embed = nn.Sequential(nn.Embedding(40, 12), nn.Linear(12, 40))
    y = torch.zeros(50, dtype=torch.int64)
    return Built(embed, (torch.randint(1, 40, (50,)),), y, "cross_entropy", {"ignore_index": 0, "reduction": "sum"})  # type: ignore[dict-item]  # a word


class Triplets(nn.Module):
    """The negative is far away already."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 4)

    def forward(self, a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        near = (self.embed(a) - self.embed(p)).square().sum(1)
        far = (self.embed(a) - self.embed(n)).square().sum(1)
        return torch.clamp(near - far + 0.2, min=0).mean()


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


# Constant and lopsided.


@faulty(Expected("constant-target", name="target"), "told")
def every_pixel_is_background() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    y = torch.zeros(6, 8, 8, dtype=torch.int64)
    return Built(model, (torch.randn(6, 3, 8, 8),), y, "cross_entropy")


@faulty(Expected("constant-target", name="target"), "told")
def every_sample_has_the_same_vector() -> Built:
    return Built(Plain(), (x(),), torch.randn(1, 3).expand(36, 3).clone(), "l1_loss")


@faulty(Expected("constant-target", name="input:1"), "told")
def own_loss_of_positives_only() -> Built:
    return Built(OwnLogits(), (x(), torch.ones(36, 1)), None, "model")


class OwnLogits(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(self.body(x), y)


@faulty(Expected("class-imbalance", name="target"), "told")
def one_rare_class_of_four() -> Built:
    y = torch.zeros(120, dtype=torch.int64)
    y[7], y[50] = 1, 3
    return Built(Plain(7, 4), (x(120),), y, "cross_entropy")


@faulty(Expected("class-imbalance", name="target"), "told")
def mostly_negative_margins() -> Built:
    y = -torch.ones(80)
    y[:2] = 1.0
    return Built(Vector(), (x(80),), y, "soft_margin_loss")


@faulty(Expected("class-imbalance", name="input:1"), "told")
def own_loss_of_rare_positives() -> Built:
    y = torch.zeros(64, 1)
    y[3] = 1.0
    return Built(OwnLogits(), (x(64), y), None, "model")


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


# What looks alike and is fine.


@healthy()
def soft_labels() -> Built:
    return Built(Plain(), (x(),), torch.rand(36, 3).softmax(1), "cross_entropy")


@healthy()
def some_targets_ignored() -> Built:
    y = classes(3, 36)
    y[::3] = -100
    return Built(Plain(), (x(),), y, "cross_entropy", {"label_smoothing": 0.1})


@healthy()
def one_sample_only() -> Built:
    return Built(Plain(), (x(1),), torch.tensor([2]), "cross_entropy")


@healthy()
def nearly_constant_targets() -> Built:
    batch = x()
    return Built(Vector(), (batch,), 20 + batch[:, 0] * 0.01, "mse_loss")


@healthy()
def background_and_a_small_object() -> Built:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))
    y = torch.zeros(6, 12, 12, dtype=torch.int64)
    y[:, 4:6, 4:6] = 1
    return Built(model, (torch.randn(6, 3, 12, 12),), y, "cross_entropy")


class Ranker(Body):
    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, x: torch.Tensor, relevance: torch.Tensor) -> torch.Tensor:
        score = self.body(x).squeeze(1)
        difference = score.unsqueeze(1) - score
        better = (relevance.unsqueeze(1) > relevance).float()
        return (F.softplus(-difference) * better).sum() / better.sum()


@healthy()
def pairs_of_scores() -> Built:
    return Built(Ranker(), (x(), torch.rand(36)), None, "model")


class PolicyGradient(Body):
    def forward(self, state: torch.Tensor, action: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
        logp = self.body(state).log_softmax(1).gather(1, action.unsqueeze(1)).squeeze(1)
        return -(logp * advantage).mean()


@healthy()
def policy_gradient() -> Built:
    return Built(PolicyGradient(), (x(), classes(3, 36), torch.randn(36)), None, "model")


class EntropyBonus(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        scores = self.body(x)
        p = scores.softmax(1)
        entropy = -(p * scores.log_softmax(1)).sum(1).mean()
        return F.cross_entropy(scores, y) - 0.01 * entropy


@healthy()
def entropy_bonus() -> Built:
    return Built(EntropyBonus(), (x(), classes(3, 36)), None, "model")


class Critic(Body):
    """A Wasserstein critic: raw scores, no bound, on purpose."""

    def __init__(self) -> None:
        super().__init__(7, 1)

    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return self.body(fake).mean() - self.body(real).mean()


@healthy()
def wasserstein_critic() -> Built:
    return Built(Critic(), (x(), x() + 1), None, "model")


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 7))
        self.discriminator = nn.Sequential(nn.Linear(7, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
        for parameter in self.discriminator.parameters():
            parameter.requires_grad = False

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.discriminator(self.generator(noise))


@healthy()
def generator_step_with_all_ones() -> Built:
    return Built(Generator(), (torch.randn(36, 4),), torch.ones(36, 1), "binary_cross_entropy_with_logits")


class Cosine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.student = nn.Linear(7, 5)

    def forward(self, x: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
        return -F.cosine_similarity(self.student(x), teacher).mean()


@healthy()
def negative_cosine_similarity() -> Built:
    return Built(Cosine(), (x(), torch.randn(36, 5)), None, "model")


@healthy()
def triplets_within_the_margin() -> Built:
    a = torch.randn(20, 5)
    return Built(Triplets(), (a, a + 0.2 * torch.randn(20, 5), a + 0.3 * torch.randn(20, 5)), None, "model")


class MaskedRegression(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
        error = (self.body(x) - y).square() * known
        return error.sum() / known.sum().clamp(min=1)


@healthy()
def most_of_the_targets_masked() -> Built:
    return Built(MaskedRegression(), (x(), torch.randn(36, 3), (torch.rand(36, 3) > 0.9).float()), None, "model")
