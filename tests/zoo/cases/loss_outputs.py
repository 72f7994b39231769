"""Outputs that do not fit their loss: squashed twice or not at all, over the wrong dimension, out of reach."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


class Body(nn.Module):
    """A small perceptron, for subclasses that differ in what they do with its output."""

    def __init__(self, inputs: int = 9, outputs: int = 5) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(inputs, 20), nn.GELU(), nn.Linear(20, outputs))


class HandMadeSoftmax(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = torch.exp(self.body(x))
        return e / e.sum(1, keepdim=True)


@faulty(Expected("double-softmax", op="aten::div", line="e / e.sum"), "told")
def softmax_by_hand_before_cross_entropy() -> Built:
    return Built(HandMadeSoftmax(), (torch.randn(40, 9),), classes(5, 40), "cross_entropy", {"label_smoothing": 0.1})


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 12, 3, padding=1)
        self.norm = nn.BatchNorm2d(12)
        self.out = nn.Conv2d(12, 4, 1)
        self.last = nn.Softmax2d()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.out(F.relu(self.norm(self.down(x)))))


@faulty(Expected("double-softmax", module="last"), "told")
def segmentation_with_softmax2d() -> Built:
    y = torch.randint(0, 4, (6, 10, 10))
    return Built(Segmenter(), (torch.randn(6, 3, 10, 10),), y, "cross_entropy", {"ignore_index": 3})


class OwnLossOnProbabilities(Body):
    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        p = self.body(x).softmax(dim=-1)
        return F.cross_entropy(p, labels)


@faulty(Expected("double-softmax", op="aten::softmax", line="softmax(dim=-1)"), "told")
def own_cross_entropy_of_probabilities() -> Built:
    return Built(OwnLossOnProbabilities(), (torch.randn(40, 9), classes(5, 40)), None, "model")


class ClampedSigmoid(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        p = torch.sigmoid(self.body(x)).clamp(1e-6, 1 - 1e-6)
        return {"loss": F.binary_cross_entropy_with_logits(p, y)}


@faulty(Expected("double-softmax", op="aten::sigmoid", line="torch.sigmoid"), "told", "script")
def clamped_sigmoid_into_a_loss_with_logits() -> Built:
    return Built(ClampedSigmoid(), (torch.randn(24, 9), torch.rand(24, 5).round()), None, "model")


class LogOfSoftmaxOfSoftmax(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.log_softmax(F.softmax(self.body(x), dim=1), dim=1)


@faulty(Expected("double-softmax", op="aten::softmax", line="F.softmax"), "told")
def softmax_then_log_softmax() -> Built:
    return Built(LogOfSoftmaxOfSoftmax(), (torch.randn(40, 9),), classes(5, 40), "nll_loss")


class TokenTagger(nn.Module):
    """Tokens, classes last, handed to the loss as [batch, classes, time]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.rnn = nn.GRU(16, 16, batch_first=True)
        self.out = nn.Linear(16, 6)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(self.embed(tokens))[0]).transpose(1, 2)


@faulty(Expected("missing-softmax", name="loss"), "told")
def tagger_scores_into_nll() -> Built:
    return Built(TokenTagger(), (torch.randint(0, 50, (8, 11)),), torch.randint(0, 6, (8, 11)), "nll_loss")


class OwnNll(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.nll_loss(torch.softmax(self.body(x), 1), y)


@faulty(Expected("missing-softmax", name="loss", line="F.nll_loss"), "told")
def own_nll_of_probabilities() -> Built:
    return Built(OwnNll(), (torch.randn(40, 9), classes(5, 40)), None, "model")


class OwnBce(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy(self.body(x), y)


@faulty(Expected("missing-softmax", name="loss"), "raises", "script")
def own_binary_cross_entropy_of_scores() -> Built:
    return Built(OwnBce(), (torch.randn(40, 9), torch.rand(40, 5).round()), None, "model")


class SpeechScores(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 16, 5, padding=2)
        self.out = nn.Linear(16, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(F.relu(self.conv(x)).permute(2, 0, 1))


@faulty(Expected("missing-softmax", name="loss"), "told")
def speech_scores_into_ctc() -> Built:
    y = {
        "targets": torch.randint(1, 7, (5, 4)),
        "input_lengths": torch.full((5,), 24),
        "target_lengths": torch.full((5,), 4),
    }
    return Built(SpeechScores(), (torch.randn(5, 8, 24),), y, "ctc_loss")


class TimePooling(nn.Module):
    """The weights of time steps compete over the batch: dim=0 was right while time came first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 12, batch_first=True)
        self.score = nn.Linear(12, 1)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, _ = self.rnn(x)
        weights = F.softmax(self.score(h).squeeze(-1), dim=0)
        return self.head(torch.bmm(weights.unsqueeze(1), h).squeeze(1))


@faulty(Expected("softmax-dimension", op="aten::softmax", line="dim=0"), "told")
def pooling_after_a_batch_first_lstm() -> Built:
    return Built(TimePooling(), (torch.randn(10, 7, 6),), classes(3, 10), "cross_entropy")


class QueriesNormalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(8, 8)
        self.key = nn.Linear(8, 8)
        self.value = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.query(x) @ self.key(x).transpose(-2, -1) / 8**0.5
        return torch.softmax(scores, dim=1) @ self.value(x)


@faulty(Expected("softmax-dimension", op="aten::softmax", line="dim=1"), "told")
def attention_normalised_over_queries() -> Built:
    return Built(QueriesNormalised(), (torch.randn(6, 9, 8),), torch.randn(6, 9, 8), "mse_loss")


class LogSoftmaxOverTime(TokenTagger):
    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        scores = self.out(self.rnn(self.embed(tokens))[0])
        return torch.log_softmax(scores, dim=1).transpose(1, 2)


@faulty(Expected("softmax-dimension", op="aten::log_softmax", line="dim=1"), "told")
def log_softmax_over_time() -> Built:
    return Built(LogSoftmaxOverTime(), (torch.randint(0, 50, (8, 11)),), torch.randint(0, 6, (8, 11)), "nll_loss")


class ReshapedPooling(nn.Module):
    """Scores of image patches, softmax over the first dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 8, 4, stride=4)
        self.score = nn.Linear(8, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((tokens * self.score(tokens).softmax(0)).sum(dim=1))


@faulty(Expected("softmax-dimension", op="aten::softmax", line="softmax(0)"), "told")
def patch_weights_over_the_batch() -> Built:
    return Built(ReshapedPooling(), (torch.randn(7, 1, 12, 12),), classes(2, 7), "cross_entropy")


class Bounded(Body):
    def __init__(self, outputs: int, last: nn.Module) -> None:
        super().__init__(9, outputs)
        self.last = last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(x)).squeeze(-1)


@faulty(Expected("output-activation-mismatch", module="last"), "told")
def tanh_for_temperatures() -> Built:
    return Built(Bounded(1, nn.Tanh()), (torch.randn(32, 9),), torch.randn(32) * 8 + 15, "smooth_l1_loss")


@faulty(Expected("output-activation-mismatch", module="last"), "told")
def relu_for_returns_of_both_signs() -> Built:
    return Built(Bounded(3, nn.ReLU()), (torch.randn(32, 9) + 1,), torch.randn(32, 3), "huber_loss")


class OwnRegression(Body):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        p = self.body(x).sigmoid()
        return F.mse_loss(p, y)


@faulty(Expected("output-activation-mismatch", op="aten::sigmoid", line="sigmoid()"), "told")
def own_loss_of_a_sigmoid_and_pixels() -> Built:
    return Built(OwnRegression(), (torch.randn(32, 9), torch.randint(0, 256, (32, 5)).float()), None, "model")


@faulty(Expected("output-activation-mismatch", module="last"), "told")
def relu_before_binary_cross_entropy_with_logits() -> Built:
    name = "binary_cross_entropy_with_logits"
    return Built(Bounded(1, nn.ReLU()), (torch.randn(32, 9),), classes(2, 32).float(), name)


# What looks alike and is fine.


@healthy()
def softmax_inside_attention_before_cross_entropy() -> Built:
    model = nn.Sequential(nn.Linear(9, 5), nn.Softmax(dim=1), nn.Linear(5, 5))
    return Built(model, (torch.randn(40, 9),), classes(5, 40), "cross_entropy")


@healthy()
def sigmoid_before_binary_cross_entropy() -> Built:
    return Built(Bounded(1, nn.Sigmoid()), (torch.randn(32, 9),), classes(2, 32).float(), "binary_cross_entropy")


class LogOfSoftmax(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(F.softmax(self.body(x), dim=-1) + 1e-8)


@healthy()
def log_of_softmax_into_nll() -> Built:
    return Built(LogOfSoftmax(), (torch.randn(40, 9),), classes(5, 40), "nll_loss")


@healthy()
def log_softmax_into_kl_divergence() -> Built:
    y = torch.rand(40, 5).softmax(1)
    options = {"reduction": "batchmean"}
    model = nn.Sequential(nn.Linear(9, 5), nn.LogSoftmax(dim=1))
    return Built(model, (torch.randn(40, 9),), y, "kl_div", options)


class Contrastive(nn.Module):
    """Pairwise scores of two views, softmax in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(9, 6)
        self.other = nn.Linear(7, 6)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        scores = F.normalize(self.one(a), dim=1) @ F.normalize(self.other(b), dim=1).t() / 0.2
        rows = scores.log_softmax(dim=1).diagonal().mean()
        columns = scores.log_softmax(dim=0).diagonal().mean()
        return -(rows + columns) / 2


@healthy()
def pairwise_scores_normalised_both_ways() -> Built:
    a = torch.randn(16, 9)
    return Built(Contrastive(), (a, a[:, :7] + torch.randn(16, 7) / 4), None, "model")


class TimeFirst(nn.Module):
    """Time comes first here, so a softmax over dimension 0 is right."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 12)
        self.score = nn.Linear(12, 1)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, _ = self.rnn(x.transpose(0, 1))
        return self.head((h * torch.softmax(self.score(h), dim=0)).sum(0))


@healthy()
def attention_over_time_that_comes_first() -> Built:
    return Built(TimeFirst(), (torch.randn(10, 7, 6),), classes(3, 10), "cross_entropy")


@healthy()
def tanh_output_for_scaled_targets() -> Built:
    return Built(Bounded(5, nn.Tanh()), (torch.randn(32, 9),), torch.rand(32, 5) * 2 - 1, "mse_loss")


@healthy()
def softplus_output_for_counts() -> Built:
    return Built(Bounded(1, nn.Softplus()), (torch.randn(32, 9),), torch.randint(0, 9, (32,)).float(), "mse_loss")


class ScaledTanh(Body):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 30.0 * torch.tanh(self.body(x) / 30.0)


@healthy()
def scores_capped_softly() -> Built:
    return Built(ScaledTanh(), (torch.randn(40, 9),), classes(5, 40), "cross_entropy")
