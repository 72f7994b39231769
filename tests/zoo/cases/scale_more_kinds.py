"""More faults of scale and precision: initialisation, float16, poles, broken parameters; and healthy look-alikes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, Expected, classes, faulty, healthy


class Convolutions(nn.Module):
    def __init__(self, depth: int, deviation: float, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.layers = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(depth)])
        self.head = nn.Linear(16, 4)
        for layer in self.layers:
            nn.init.normal_(layer.weight, std=deviation)
            nn.init.zeros_(layer.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for layer in self.layers:
            x = F.leaky_relu(layer(x)) if self.activation == "leaky_relu" else F.gelu(layer(x))
        return self.head(x.mean((2, 3)))


def images(batch: int = 12) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8)


@faulty(Expected("poor-initialization"), "told")
def convolutions_initialised_too_small() -> Built:
    return Built(Convolutions(12, 0.005, "leaky_relu"), (images(),), classes(4, 12), "cross_entropy")


@faulty(Expected("poor-initialization"), "told")
def convolutions_initialised_too_large() -> Built:
    return Built(Convolutions(10, 0.5, "gelu"), (images(),), torch.randn(12, 4), "mse_loss")


class Uniform(nn.Module):
    """Weights from -1 to 1, whatever the width, until values overflow."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(128, 128) for _ in range(depth)])
        self.head = nn.Linear(128, 2)
        for layer in self.layers:
            nn.init.uniform_(layer.weight, -1.0, 1.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)


@faulty(Expected("poor-initialization"), "non-finite")
def uniform_weights_until_overflow() -> Built:
    return Built(
        Uniform(60), (torch.randn(16, 128),), torch.randn(16, 2), "mse_loss", suffers=("layers.0.weight", "head.weight")
    )


@faulty(Expected("poor-initialization"), "told")
def uniform_weights_that_explode() -> Built:
    return Built(Uniform(9), (torch.randn(16, 128),), torch.randn(16, 2), "mse_loss")


@healthy()
def normalised_layers_with_small_weights() -> Built:
    layers: list[nn.Module] = []
    for _ in range(10):
        linear = nn.Linear(32, 32)
        nn.init.normal_(linear.weight, std=0.01)
        layers += [linear, nn.LayerNorm(32), nn.GELU()]
    return Built(nn.Sequential(*layers, nn.Linear(32, 4)), (torch.randn(32, 32),), classes(4, 32), "cross_entropy")


@healthy()
def ten_default_layers() -> Built:
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [nn.Linear(64, 64), nn.GELU()]
    return Built(nn.Sequential(*layers, nn.Linear(64, 4)), (torch.randn(64, 64),), classes(4, 64), "cross_entropy")


class SmallHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.policy = nn.Linear(64, 5)
        nn.init.orthogonal_(self.policy.weight, gain=0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.policy(self.body(x))


@healthy()
def policy_head_that_starts_small() -> Built:
    return Built(SmallHead(), (torch.randn(32, 16),), classes(5, 32), "cross_entropy")


class HalfAttention(nn.Module):
    """Scores are scaled after the product, too late for float16."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(64, 64)
        self.key = nn.Linear(64, 64)
        self.value = nn.Linear(64, 64)
        self.head = nn.Linear(64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k = self.query(x) * 60, self.key(x) * 60
        scores = torch.bmm(q, k.transpose(1, 2)) / 28800.0
        return self.head(torch.bmm(torch.softmax(scores, -1), self.value(x)).mean(1))


@faulty(Expected("overflow-low-precision", op="aten::bmm", line="torch.bmm(q, k"), "non-finite")
def attention_scores_overflow_in_half() -> Built:
    x = (torch.randn(6, 5, 64) * 4).half()
    return Built(HalfAttention().half(), (x,), classes(3, 6), "cross_entropy", suffers=("query.weight",))


class HalfExponential(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(12, 24)
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        e = torch.exp(self.score(x) * 6)
        return self.head(e / e.sum(1, keepdim=True))


@faulty(Expected("overflow-low-precision", op="aten::exp"), "non-finite")
def exponential_overflows_in_half() -> Built:
    x = (torch.randn(20, 12) * 2).half()
    return Built(HalfExponential().half(), (x,), classes(3, 20), "cross_entropy", suffers=("score.weight",))


class LostEpsilon(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(10, 16, bias=False)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.body(x))
        return self.head(h / (h.sum(1, keepdim=True) + 1e-8))


@faulty(Expected("overflow-low-precision", op="aten::div"), "non-finite")
def epsilon_is_zero_in_half() -> Built:
    x = torch.randn(20, 10).half()
    x[11] = 0
    return Built(LostEpsilon().half(), (x,), classes(3, 20), "cross_entropy", suffers=("head.weight",))


class HalfNetwork(nn.Module):
    """A small classifier in half precision whose loss is scaled by some factor."""

    def __init__(self, factor: float, dtype: torch.dtype) -> None:
        super().__init__()
        self.factor = factor
        self.body = nn.Linear(32, 64, dtype=dtype)
        self.mid = nn.Linear(64, 64, dtype=dtype)
        self.head = nn.Linear(64, 8, dtype=dtype)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = F.gelu(self.mid(F.gelu(self.body(x))))
        return F.cross_entropy(self.head(h).float(), y) * self.factor


@faulty(Expected("gradient-underflow"), "told")
def auxiliary_loss_with_a_tiny_weight_in_half() -> Built:
    inputs = (torch.randn(64, 32).half(), classes(8, 64))
    return Built(HalfNetwork(2e-5, torch.float16), inputs, None, "model")


@faulty(Expected("gradient-underflow"), "told")
def loss_averaged_over_far_too_much() -> Built:
    inputs = (torch.randn(256, 32).half(), classes(8, 256))
    return Built(HalfNetwork(1e-8, torch.float16), inputs, None, "model")


class HalfDense(nn.Module):
    """Per-pixel mean squared error of a large image in float16, unscaled and nearly right."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.second(F.relu(self.first(x))).float(), y.float()) * 1e-3


@faulty(Expected("gradient-underflow"), "told")
def pixels_of_a_large_image_in_half() -> Built:
    inputs = (torch.randn(4, 1, 96, 96).half(), torch.randn(4, 1, 96, 96).half())
    return Built(HalfDense().half(), inputs, None, "model")


@healthy()
def bfloat16_with_a_tiny_loss() -> Built:
    inputs = (torch.randn(64, 32).bfloat16(), classes(8, 64))
    return Built(HalfNetwork(1e-5, torch.bfloat16), inputs, None, "model")


class HalfInside(nn.Module):
    """Parameters in float32, products in float16, and a loss that is scaled up."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(32, 64)
        self.head = nn.Linear(64, 8)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        h = F.gelu(F.linear(x.half(), self.body.weight.half(), self.body.bias.half()))
        h = F.linear(h, self.head.weight.half(), self.head.bias.half())
        return F.cross_entropy(h.float(), y) * 256.0


@healthy()
def half_precision_with_loss_scaling() -> Built:
    return Built(HalfInside(), (torch.randn(64, 32), classes(8, 64)), None, "model")


class Cosine(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.embed = nn.Linear(8, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embed(x) * x[:, :1]
        return self.head(h * torch.rsqrt(h.square().sum(1, keepdim=True) + self.eps))


@faulty(Expected("ill-conditioned-op", op="aten::rsqrt"), "told")
def nearly_closed_gate_before_a_normalisation() -> Built:
    x = torch.randn(24, 8)
    x[5, 0] = 1e-8
    return Built(Cosine(1e-18), (x,), classes(3, 24), "cross_entropy")


class Ratio(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.over = nn.Linear(7, 4)
        self.under = nn.Linear(7, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ratio = torch.tanh(self.over(x) / self.under(x))
        return self.head(ratio)


class Logarithm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 10)
        self.mid = nn.Linear(10, 10)
        self.head = nn.Linear(10, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        p = F.hardtanh(self.body(x), 0.0, 1.0)
        return self.head(torch.tanh(self.mid(torch.log(p + 1e-25) / 60.0)))


@faulty(Expected("ill-conditioned-op", op="aten::log", line="torch.log"), "told")
def logarithm_of_clipped_values() -> Built:
    return Built(Logarithm(), (torch.randn(24, 6),), torch.randn(24, 2), "mse_loss")


class Standardised(nn.Module):
    """Standardises each sample; one of them is constant but for rounding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(9, 9)
        self.head = nn.Linear(9, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x + 1e-9 * torch.tanh(self.embed(x))
        h = h - h.mean(1, keepdim=True)
        return self.head(h / (h.pow(2).mean(1, keepdim=True).sqrt() + 1e-16))


@faulty(Expected("ill-conditioned-op", op=("aten::div", "aten::sqrt")), "told")
def a_sample_without_contrast() -> Built:
    x = torch.randn(16, 9)
    x[3] = 0.0
    return Built(Standardised(), (x,), torch.randn(16, 2), "mse_loss")


class SafeDistance(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.sqrt((self.embed(a) - self.embed(b)).square().sum(1) + 1e-12)


@healthy()
def distance_of_an_identical_pair_with_epsilon() -> Built:
    a, b = torch.randn(16, 8), torch.randn(16, 8)
    b[3] = a[3]
    return Built(SafeDistance(), (a, b), torch.rand(16), "mse_loss")


@healthy()
def layer_norm_of_tiny_embeddings() -> Built:
    embed = nn.Embedding(40, 24)
    nn.init.normal_(embed.weight, std=1e-4)
    model = nn.Sequential(embed, nn.LayerNorm(24), nn.Flatten(), nn.Linear(24 * 5, 4))
    return Built(model, (torch.randint(0, 40, (16, 5)),), classes(4, 16), "cross_entropy")


@faulty(Expected("non-finite-parameter", parameter="norm.running_var"), "told", "script")
def infinite_running_variance() -> Built:
    model = WithNorm()
    spoiled = torch.ones(12)
    spoiled[2] = float("inf")
    model.norm.running_var = spoiled
    return Built(model, (torch.randn(16, 8),), classes(3, 16), "cross_entropy")


class WithNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 12)
        self.norm = nn.BatchNorm1d(12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.norm(self.body(x))))


@faulty(Expected("non-finite-parameter", parameter="norm.running_mean"), "non-finite")
def running_mean_is_nan_in_eval_mode() -> Built:
    model = WithNorm()
    model.norm.eval()
    model.norm.running_mean.fill_(float("nan"))
    return Built(model, (torch.randn(16, 8),), classes(3, 16), "cross_entropy", suffers=("head.weight",))


@faulty(Expected("non-finite-parameter", parameter="embed.weight"), "non-finite")
def one_embedding_row_is_infinite() -> Built:
    model = nn.Sequential()
    model.add_module("embed", nn.Embedding(30, 8))
    model.add_module("flat", nn.Flatten())
    model.add_module("head", nn.Linear(40, 3))
    with torch.no_grad():
        model.embed.weight[7] = float("inf")
    tokens = torch.randint(0, 30, (16, 5))
    tokens[4, 2] = 7
    return Built(model, (tokens,), classes(3, 16), "cross_entropy", suffers=("head.weight",))


class MaskBuffer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(12, 36)
        self.head = nn.Linear(12, 3)
        self.register_buffer("mask", torch.full((6, 6), float("-inf")).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.project(x).chunk(3, 2)
        weights = torch.softmax(q @ k.transpose(1, 2) / 12**0.5 + self.mask, -1)
        return self.head((weights @ v).mean(1))


@healthy()
def mask_of_minus_infinity_kept_as_a_buffer() -> Built:
    return Built(MaskBuffer(), (torch.randn(12, 6, 12),), classes(3, 12), "cross_entropy")


class Sentinel(nn.Module):
    """Keeps the best loss seen so far, at first infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        self.register_buffer("best", torch.tensor(float("inf")))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@healthy()
def an_infinite_buffer_that_nothing_reads() -> Built:
    return Built(Sentinel(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy")
