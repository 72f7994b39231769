"""Healthy models of many kinds, with the structural zeros and small numbers that healthy models have."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


@healthy()
def mlp_with_relu() -> Built:
    model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))
    return Built(model, (torch.randn(32, 20),), classes(5, 32), "cross_entropy")


@healthy()
def linear_regression() -> Built:
    x = torch.randn(64, 10)
    return Built(nn.Linear(10, 1), (x,), x[:, :1] * 3 + 1, "mse_loss")


@healthy()
def eight_relu_layers() -> Built:
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(48, 48), nn.ReLU()]
        nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
    model = nn.Sequential(*layers, nn.Linear(48, 3))
    return Built(model, (torch.randn(64, 48),), classes(3, 64), "cross_entropy")


@healthy()
def six_relu_layers_with_default_initialisation() -> Built:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(40, 40), nn.ReLU()]
    return Built(nn.Sequential(*layers, nn.Linear(40, 3)), (torch.randn(64, 40),), classes(3, 64), "cross_entropy")


@healthy()
def two_sigmoid_layers() -> Built:
    model = nn.Sequential(nn.Linear(12, 24), nn.Sigmoid(), nn.Linear(24, 24), nn.Sigmoid(), nn.Linear(24, 2))
    return Built(model, (torch.randn(32, 12),), classes(2, 32), "cross_entropy")


@healthy()
def tanh_autoencoder() -> Built:
    model = nn.Sequential(
        nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 16)
    )
    x = torch.randn(64, 16)
    return Built(model, (x,), x.clone(), "mse_loss")


class SmallCnn(nn.Module):
    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=bias),
            nn.BatchNorm2d(16),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1, bias=bias),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.head = nn.Linear(32, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x).flatten(1))


@healthy()
def cnn_with_bias_before_batch_norm() -> Built:
    return Built(SmallCnn(), (torch.randn(12, 3, 16, 16),), classes(6, 12), "cross_entropy")


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class DeepResidual(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Residual(24) for _ in range(depth)])
        self.head = nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


@healthy()
def forty_residual_blocks() -> Built:
    return Built(DeepResidual(40), (torch.randn(32, 24),), classes(4, 32), "cross_entropy")


@healthy()
def residual_blocks_that_start_as_the_identity() -> Built:
    model = DeepResidual(6)
    for block in model.blocks:
        nn.init.zeros_(block.down.weight)
        nn.init.zeros_(block.down.bias)
    return Built(model, (torch.randn(32, 24),), classes(4, 32), "cross_entropy")


@healthy()
def head_initialised_to_zero() -> Built:
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    return Built(model, (torch.randn(32, 10),), classes(4, 32), "cross_entropy")


class SelfAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 32, padding_idx=0)
        self.query = nn.Linear(32, 32)
        self.key = nn.Linear(32, 32)
        self.value = nn.Linear(32, 32)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 100)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 32**0.5
        future = torch.ones(x.shape[1], x.shape[1]).triu(1) > 0
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        return self.head(self.norm(x + weights @ self.value(x))).transpose(1, 2)


@healthy()
def causal_attention_with_padding() -> Built:
    tokens = torch.randint(1, 100, (8, 12))
    tokens[:, 9:] = 0
    return Built(SelfAttention(), (tokens,), torch.randint(0, 100, (8, 12)), "cross_entropy", {"ignore_index": 0})


class LstmTagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(200, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True, num_layers=2)
        self.out = nn.Linear(24, 7)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.embed(tokens))
        return self.out(hidden).flatten(0, 1)


@healthy()
def lstm_tagger() -> Built:
    return Built(LstmTagger(), (torch.randint(0, 200, (6, 15)),), torch.randint(0, 7, (90,)), "cross_entropy")


class GruForecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 20, batch_first=True)
        self.out = nn.Linear(20, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, last = self.gru(x)
        return self.out(last[0])


@healthy()
def gru_forecaster() -> Built:
    return Built(GruForecaster(), (torch.randn(16, 20, 4),), torch.randn(16, 1), "mse_loss")


class RnnCellLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(5, 16)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[0], 16)
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
        return self.out(state)


@healthy()
def short_rnn_cell_loop() -> Built:
    return Built(RnnCellLoop(), (torch.randn(16, 6, 5),), classes(3, 16), "cross_entropy")


@healthy()
def transformer_encoder_layer() -> Built:
    model = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
    x = torch.randn(8, 10, 32)
    return Built(model, (x,), torch.randn(8, 10, 32), "mse_loss")


class StraightThrough(nn.Module):
    """VQ-VAE with the straight-through estimator."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.decode = nn.Linear(6, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encode(x)
        z = z + (z.round() - z).detach()
        return self.decode(z)


@healthy()
def straight_through_rounding() -> Built:
    x = torch.randn(64, 10) * 3
    return Built(StraightThrough(), (x,), x.clone(), "mse_loss")


class StopGradientTarget(nn.Module):
    """BYOL-like: the target branch is detached on purpose; its weights also learn through the online branch."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 8))
        self.predict = nn.Linear(8, 8)

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        online = self.predict(self.encode(a))
        target = self.encode(b).detach()
        return (online - target).square().mean()


@healthy()
def stop_gradient_target() -> Built:
    x = torch.randn(32, 12)
    return Built(StopGradientTarget(), (x, x + torch.randn(32, 12) / 10), None, "model")


class FrozenBackbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())
        for parameter in self.backbone.parameters():
            parameter.requires_grad = False
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(x))


@healthy()
def frozen_backbone() -> Built:
    return Built(FrozenBackbone(), (torch.randn(32, 16),), classes(4, 32), "cross_entropy")


class Lora(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(16, 16)
        self.base.weight.requires_grad = False
        self.base.bias.requires_grad = False
        self.down = nn.Parameter(torch.randn(16, 4) / 4)
        self.up = nn.Parameter(torch.zeros(4, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down @ self.up


@healthy()
def lora_with_zero_up_projection() -> Built:
    return Built(Lora(), (torch.randn(32, 16),), torch.randn(32, 16), "mse_loss")


class Variational(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(20, 32)
        self.mean = nn.Linear(32, 4)
        self.log_variance = nn.Linear(32, 4)
        self.decode = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 20))

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encode(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        rebuilt = self.decode(mean + noise * torch.exp(0.5 * log_variance))
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return F.mse_loss(rebuilt, x) + 0.01 * divergence


@healthy()
def variational_autoencoder() -> Built:
    return Built(Variational(), (torch.randn(64, 20), torch.randn(64, 4)), None, "model")


class GaussianLikelihood(nn.Module):
    """A negative loss is fine for a density."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 2))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        mean, log_scale = self.body(x).unbind(1)
        return (log_scale + 0.5 * ((y - mean) * torch.exp(-log_scale)) ** 2).mean()


@healthy()
def gaussian_likelihood() -> Built:
    x = torch.randn(64, 6)
    return Built(GaussianLikelihood(), (x, x[:, 0] * 0.1), None, "model")


class TinyLoss(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 1))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.mse_loss(self.body(x), y) * 1e-6


@healthy()
def loss_scaled_by_a_millionth() -> Built:
    return Built(TinyLoss(), (torch.randn(32, 10), torch.randn(32, 1)), None, "model")


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(1, 8, 3, padding=1)
        self.deep = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = F.relu(self.down(x))
        deep = F.relu(self.deep(skip))
        return self.out(torch.cat([self.up(deep), skip], dim=1))


@healthy()
def u_net() -> Built:
    x = torch.randn(4, 1, 16, 16)
    return Built(UNet(), (x,), (x > 0).float(), "binary_cross_entropy_with_logits")


class SoftExperts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 3)
        self.experts = nn.ModuleList([nn.Linear(8, 4) for _ in range(3)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.gate(x).softmax(1)
        outputs = torch.stack([expert(x) for expert in self.experts], dim=1)
        return (weights.unsqueeze(2) * outputs).sum(1)


@healthy()
def soft_mixture_of_experts() -> Built:
    return Built(SoftExperts(), (torch.randn(32, 8),), torch.randn(32, 4), "mse_loss")


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(1000, 16)
        self.items = nn.Embedding(5000, 16)
        self.bias = nn.Embedding(5000, 1)

    def forward(self, user: torch.Tensor, item: torch.Tensor) -> torch.Tensor:
        return (self.users(user) * self.items(item)).sum(1) + self.bias(item).squeeze(1)


@healthy()
def recommender_with_sparse_rows() -> Built:
    inputs = (torch.randint(0, 1000, (64,)), torch.randint(0, 5000, (64,)))
    return Built(Recommender(), inputs, torch.rand(64).round(), "binary_cross_entropy_with_logits")


class TiedLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(60, 24)
        self.body = nn.Linear(24, 24)
        self.out = nn.Linear(24, 60, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(torch.tanh(self.body(self.embed(tokens))))


@healthy()
def tied_embedding_and_output() -> Built:
    return Built(TiedLanguageModel(), (torch.randint(0, 60, (64,)),), torch.randint(0, 60, (64,)), "cross_entropy")


class GraphConvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.second = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, source: torch.Tensor, destination: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.first(x))
        gathered = torch.zeros_like(h).index_add(0, destination, h[source])
        return self.second(h + gathered)


@healthy()
def graph_convolution() -> Built:
    edges = torch.randint(0, 30, (2, 80))
    return Built(GraphConvolution(), (torch.randn(30, 8), edges[0], edges[1]), classes(3, 30), "cross_entropy")


class Multitask(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 32), nn.ReLU())
        self.kind = nn.Linear(32, 4)
        self.size = nn.Linear(32, 1)

    def forward(self, x: torch.Tensor, kind: torch.Tensor, size: torch.Tensor) -> dict[str, torch.Tensor]:
        h = self.trunk(x)
        loss = F.cross_entropy(self.kind(h), kind) + F.mse_loss(self.size(h), size)
        return {"loss": loss}


@healthy("script")
def multitask_with_its_own_loss() -> Built:
    return Built(Multitask(), (torch.randn(32, 10), classes(4, 32), torch.randn(32, 1)), None, "model")


class Dropped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


@healthy("script")
def half_dropout() -> Built:
    return Built(Dropped(), (torch.randn(64, 20),), classes(3, 64), "cross_entropy")


class Pruned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(16, 32)
        self.head = nn.Linear(32, 3)
        with torch.no_grad():
            self.body.weight.mul_((torch.rand_like(self.body.weight) > 0.9).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(F.relu(self.body(x)))


@healthy()
def pruned_weights() -> Built:
    return Built(Pruned(), (torch.randn(32, 16),), classes(3, 32), "cross_entropy")


class SpeechCtc(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(12, 24, 3, padding=1)
        self.out = nn.Linear(24, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.conv(x)).permute(2, 0, 1)
        return self.out(h).log_softmax(-1)


@healthy()
def ctc_speech() -> Built:
    target = {
        "targets": torch.randint(1, 9, (4, 5)),
        "input_lengths": torch.full((4,), 30),
        "target_lengths": torch.full((4,), 5),
    }
    return Built(SpeechCtc(), (torch.randn(4, 12, 30),), target, "ctc_loss")


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Embedding(100, 16)
        self.body = nn.Sequential(nn.Linear(16 + 8, 64), nn.SiLU(), nn.Linear(64, 8))

    def forward(self, x: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([x, self.time(step)], dim=1))


@healthy()
def diffusion_denoiser() -> Built:
    return Built(Denoiser(), (torch.randn(32, 8), torch.randint(0, 100, (32,))), torch.randn(32, 8), "mse_loss")


@healthy()
def log_softmax_before_cross_entropy() -> Built:
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4), nn.LogSoftmax(dim=1))
    return Built(model, (torch.randn(32, 10),), classes(4, 32), "cross_entropy")


@healthy()
def group_norm_cnn_in_double_precision() -> Built:
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    ).double()
    return Built(model, (torch.randn(8, 2, 8, 8, dtype=torch.float64),), classes(3, 8), "cross_entropy")
