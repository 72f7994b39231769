"""Healthy models with what looks like a fault and is none; rules were not made with these."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


def blobs(count: int, width: int, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows around one centre per class, and the classes."""
    labels = classes(count, rows)
    return torch.randn(count, width)[labels] + 0.5 * torch.randn(rows, width), labels


class StraightThrough(nn.Module):
    """Binary activations with a straight-through gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(10, 32)
        self.b = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.a(x))
        h = h + (torch.sign(h) - h).detach()
        return self.b(h)


@healthy()
def binary_units_with_straight_through() -> Built:
    x, y = blobs(4, 10, 32)
    return Built(StraightThrough(), (x,), y, "cross_entropy")


class VqVae(nn.Module):
    """The codebook's three losses, with their stop-gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 6))
        self.codes = nn.Embedding(16, 6)
        self.decoder = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.encoder(x)
        code = self.codes(torch.cdist(z, self.codes.weight).argmin(1))
        commitment = F.mse_loss(z, code.detach()) * 0.25 + F.mse_loss(code, z.detach())
        through = z + (code - z).detach()
        return F.mse_loss(self.decoder(through), x) + commitment


@healthy()
def vq_vae_with_all_its_losses() -> Built:
    return Built(VqVae(), (torch.randn(40, 12),), None, "model")


class Momentum(nn.Module):
    """An online network against a frozen target network, as in BYOL."""

    def __init__(self) -> None:
        super().__init__()
        self.online = nn.Sequential(nn.Linear(9, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        self.predictor = nn.Linear(8, 8)
        self.target = nn.Sequential(nn.Linear(9, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 8))
        for parameter in self.target.parameters():
            parameter.requires_grad = False

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        guess = F.normalize(self.predictor(self.online(one)), dim=-1)
        with torch.no_grad():
            wanted = F.normalize(self.target(other), dim=-1)
        return 2 - 2 * (guess * wanted).sum(-1).mean()


@healthy()
def online_and_momentum_network() -> Built:
    x = torch.randn(32, 9)
    return Built(Momentum(), (x + 0.1 * torch.randn(32, 9), x), None, "model")


class ActorCritic(nn.Module):
    """Advantages are detached for the actor."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh())
        self.policy = nn.Linear(32, 3)
        self.value = nn.Linear(32, 1)

    def forward(self, state: torch.Tensor, action: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        h = self.body(state)
        value = self.value(h).squeeze(1)
        advantage = (gain - value).detach()
        log_probability = F.log_softmax(self.policy(h), -1).gather(1, action.unsqueeze(1)).squeeze(1)
        probability = F.softmax(self.policy(h), -1)
        entropy = -(probability * torch.log(probability + 1e-8)).sum(-1).mean()
        return -(log_probability * advantage).mean() + 0.5 * F.mse_loss(value, gain) - 0.01 * entropy


@healthy()
def actor_and_critic() -> Built:
    state = torch.randn(40, 6)
    return Built(ActorCritic(), (state, classes(3, 40), 3 + state[:, 0]), None, "model")


class Ladder(nn.Module):
    """Pre-norm transformer whose branch outputs start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(40, 32, padding_idx=0)
        self.blocks = nn.ModuleList(
            [nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True, norm_first=True) for _ in range(4)]
        )
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 5)
        for block in self.blocks:
            nn.init.zeros_(block.linear2.weight)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)
        padding = ids == 0
        for block in self.blocks:
            x = block(x, src_key_padding_mask=padding)
        return self.head(self.norm(x).mean(1))


@healthy("trace")
def padded_sequences_through_zero_started_blocks() -> Built:
    ids = torch.randint(1, 40, (12, 10))
    for row in range(12):
        ids[row, 10 - row % 5 :] = 0
    return Built(Ladder(), (ids,), classes(5, 12), "cross_entropy")


class Sparse(nn.Module):
    """Bags of ids from a large table; most rows get no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(5000, 16, mode="mean")
        self.head = nn.Linear(16, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.bag(ids))


@healthy()
def a_few_rows_of_a_large_table() -> Built:
    return Built(Sparse(), (torch.randint(5000, (16, 6)),), classes(3, 16), "cross_entropy")


class Mixture(nn.Module):
    """Soft mixture of experts; one of them is nearly never asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(8, 4)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3)) for _ in range(4)])
        with torch.no_grad():
            self.gate.bias[3] = -6.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = F.softmax(self.gate(x), -1).unsqueeze(-1)
        return (torch.stack([expert(x) for expert in self.experts], 1) * weights).sum(1)


@healthy()
def mixture_with_a_shy_expert() -> Built:
    x, y = blobs(3, 8, 30)
    return Built(Mixture(), (x,), y, "cross_entropy")


class DeepResidual(nn.Module):
    """Sixty residual layers with LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 24), nn.GELU()) for _ in range(60)])
        self.head = nn.Linear(24, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = x + layer(x)
        return self.head(F.layer_norm(x, (24,)))


@healthy()
def sixty_residual_layers() -> Built:
    x, y = blobs(3, 24, 18)
    return Built(DeepResidual(), (x,), y, "cross_entropy")


class Pruned(nn.Module):
    """Nine of ten weights are pruned away."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(20, 64)
        self.b = nn.Linear(64, 4)
        with torch.no_grad():
            self.a.weight.mul_((torch.rand_like(self.a.weight) > 0.8).float()).mul_(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(F.relu(self.a(x)))


@healthy()
def pruned_first_layer() -> Built:
    x, y = blobs(4, 20, 32)
    return Built(Pruned(), (x,), y, "cross_entropy")


class Physics(nn.Module):
    """A network of sines for coordinates, initialised as its paper says (Sitzmann et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 48)
        self.second = nn.Linear(48, 48)
        self.last = nn.Linear(48, 1)
        bound = math.sqrt(6 / 48) / 30
        with torch.no_grad():
            self.first.weight.uniform_(-1 / 2, 1 / 2)
            self.second.weight.uniform_(-bound, bound)
            self.last.weight.uniform_(-bound, bound)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.sin(30 * self.first(x))
        return self.last(torch.sin(30 * self.second(x)))


@healthy()
def sines_of_coordinates() -> Built:
    x = torch.rand(80, 2) * 2 - 1
    return Built(Physics(), (x,), torch.sin(5 * x[:, :1]) * torch.cos(3 * x[:, 1:]), "mse_loss")


class Seconds(nn.Module):
    """Time stamps that forward scales itself."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, stamp: torch.Tensor) -> torch.Tensor:
        day = (stamp - 1.7e9) / 86400.0
        return self.net(torch.cat([torch.sin(day), torch.cos(day), day / 100], 1))


@healthy()
def time_stamps_scaled_inside() -> Built:
    stamp = 1.7e9 + torch.randint(0, 8_000_000, (40, 1)).double()
    return Built(Seconds().double(), (stamp,), torch.sin(stamp / 86400.0), "mse_loss")


class Normalising(nn.Module):
    """Raw pixels, normalised by constants first."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([123.7, 116.3, 103.5]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([58.4, 57.1, 57.4]).view(3, 1, 1))
        self.net = nn.Sequential(nn.Conv2d(3, 12, 3, 2), nn.ReLU(), nn.Conv2d(12, 24, 3, 2), nn.ReLU())
        self.head = nn.Linear(24, 4)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = (image.float() - self.mean) / self.std
        return self.head(self.net(x).mean((2, 3)))


@healthy()
def raw_pixels_normalised_inside() -> Built:
    image = torch.randint(0, 256, (12, 3, 20, 20), dtype=torch.uint8)
    return Built(Normalising(), (image,), classes(4, 12), "cross_entropy")


class Beta(nn.Module):
    """A VAE with its KL term weighted low at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(16, 32)
        self.mean = nn.Linear(32, 4)
        self.log_variance = nn.Linear(32, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = F.relu(self.encoder(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1).mean()
        return F.binary_cross_entropy_with_logits(self.decoder(z), x) + 1e-3 * kl


@healthy()
def vae_with_a_low_kl_weight() -> Built:
    return Built(Beta(), ((torch.rand(40, 16) > 0.5).float(),), None, "model")


class Hinge(nn.Module):
    """A critic with a hinge loss and spectral-like scaling."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def forward(self, real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
        return F.relu(1 - self.net(real)).mean() + F.relu(1 + self.net(fake)).mean()


@healthy()
def critic_with_a_hinge() -> Built:
    return Built(Hinge(), (torch.randn(32, 8) + 1, torch.randn(32, 8) - 1), None, "model")


class Triplet(nn.Module):
    """Triplets with semi-hard negatives: some keep the margin."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 8))

    def forward(self, a: torch.Tensor, p: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
        return F.triplet_margin_loss(self.net(a), self.net(p), self.net(n), margin=0.3)


@healthy()
def triplets_of_which_some_keep_the_margin() -> Built:
    a = torch.randn(40, 10)
    return Built(Triplet(), (a, a + 0.3 * torch.randn(40, 10), torch.randn(40, 10)), None, "model")


class InBatch(nn.Module):
    """Contrastive logits of every pair in the batch (CLIP)."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(14, 16)
        self.text = nn.Linear(9, 16)
        self.scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        u, v = F.normalize(self.image(image), dim=-1), F.normalize(self.text(text), dim=-1)
        logits = self.scale.exp() * u @ v.t()
        labels = torch.arange(image.size(0))
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2


@healthy()
def contrast_within_the_batch() -> Built:
    return Built(InBatch(), (torch.randn(24, 14), torch.randn(24, 9)), None, "model")


class Gated(nn.Module):
    """A highway whose gates start closed, by a bias of -2."""

    def __init__(self) -> None:
        super().__init__()
        self.carry = nn.ModuleList([nn.Linear(20, 20) for _ in range(6)])
        self.change = nn.ModuleList([nn.Linear(20, 20) for _ in range(6)])
        self.head = nn.Linear(20, 3)
        for gate in self.carry:
            nn.init.constant_(gate.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for carry, change in zip(self.carry, self.change):  # noqa: B905 - TorchScript knows no `strict`
            gate = torch.sigmoid(carry(x))
            x = gate * F.relu(change(x)) + (1 - gate) * x
        return self.head(x)


@healthy()
def highway_with_closed_gates() -> Built:
    x, y = blobs(3, 20, 24)
    return Built(Gated(), (x,), y, "cross_entropy")


class Remember(nn.Module):
    """An LSTM with the forget gate's bias at one, over a long sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, 24, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(48, 2)
        for name, parameter in self.lstm.named_parameters():
            if "bias" in name:
                nn.init.zeros_(parameter)
                nn.init.ones_(parameter[24:48])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x)[0].mean(1))


@healthy()
def two_way_lstm_with_open_forget_gates() -> Built:
    return Built(Remember(), (torch.randn(10, 40, 5),), classes(2, 10), "cross_entropy")


class Causal(nn.Module):
    """A causal convolution stack of a small WaveNet with skips."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Conv1d(1, 16, 1)
        self.filters = nn.ModuleList([nn.Conv1d(16, 16, 2, dilation=2**i) for i in range(6)])
        self.gates = nn.ModuleList([nn.Conv1d(16, 16, 2, dilation=2**i) for i in range(6)])
        self.out = nn.Conv1d(16, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        total = torch.zeros_like(x)
        step = 1
        for filtered, gate in zip(self.filters, self.gates):  # noqa: B905 - TorchScript knows no `strict`
            padded = F.pad(x, (step, 0))
            step *= 2
            h = torch.tanh(filtered(padded)) * torch.sigmoid(gate(padded))
            x, total = x + h, total + h
        return self.out(F.relu(total))


@healthy()
def small_wavenet() -> Built:
    x = torch.randn(6, 1, 80)
    return Built(Causal(), (x,), x.roll(-1, 2), "mse_loss")


class Counts(nn.Module):
    """Poisson regression on counts."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 24), nn.Softplus(), nn.Linear(24, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@healthy()
def counts_with_a_poisson_loss() -> Built:
    return Built(Counts(), (torch.randn(40, 6),), torch.poisson(torch.full((40, 1), 3.0)), "poisson_nll_loss")


class Quantiles(nn.Module):
    """The pinball loss of three quantiles."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 32), nn.ReLU(), nn.Linear(32, 3))
        self.register_buffer("levels", torch.tensor([0.1, 0.5, 0.9]))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        error = y - self.net(x)
        return torch.maximum(self.levels * error, (self.levels - 1) * error).mean()


@healthy()
def three_quantiles() -> Built:
    return Built(Quantiles(), (torch.randn(40, 5), torch.randn(40, 1)), None, "model")


class Dice(nn.Module):
    """Soft Dice for a rare foreground."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        p = torch.sigmoid(self.net(x))
        overlap = (p * mask).sum((1, 2, 3))
        return 1 - ((2 * overlap + 1) / (p.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


@healthy()
def soft_dice_of_a_small_object() -> Built:
    mask = torch.zeros(6, 1, 16, 16)
    mask[:, :, 5:8, 6:10] = 1
    return Built(Dice(), (mask + 0.3 * torch.randn(6, 1, 16, 16), mask), None, "model")


class Spectral(nn.Module):
    """Mixes along time by a learnt complex filter (FNet, FNO)."""

    def __init__(self) -> None:
        super().__init__()
        self.real = nn.Parameter(torch.randn(9, 8) * 0.2)
        self.imaginary = nn.Parameter(torch.randn(9, 8) * 0.2)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x, dim=1) * torch.complex(self.real, self.imaginary)
        return self.head(F.gelu(torch.fft.irfft(spectrum, n=16, dim=1)).mean(1))


@healthy()
def learnt_filter_in_the_spectrum() -> Built:
    return Built(Spectral(), (torch.randn(12, 16, 8),), classes(3, 12), "cross_entropy")


class Pointer(nn.Module):
    """Points into its input; padding is masked with a large negative number."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.GRU(6, 24, batch_first=True)
        self.query = nn.Parameter(torch.randn(24) * 0.1)

    def forward(self, x: torch.Tensor, length: torch.Tensor) -> torch.Tensor:
        scores = self.encode(x)[0] @ self.query
        beyond = torch.arange(x.size(1)).unsqueeze(0) >= length.unsqueeze(1)
        return scores.masked_fill(beyond, -1e9)


@healthy()
def pointer_with_masked_padding() -> Built:
    length = 4 + classes(5, 16)
    return Built(Pointer(), (torch.randn(16, 9, 6), length), classes(4, 16), "cross_entropy")


class Warm(nn.Module):
    """A regression head whose bias is the target's mean, as it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(7, 32), nn.ReLU(), nn.Linear(32, 1))
        with torch.no_grad():
            self.net[2].bias.fill_(250.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


@healthy()
def house_prices_around_their_mean() -> Built:
    return Built(Warm(), (torch.randn(40, 7),), 250 + 60 * torch.randn(40, 1), "mse_loss")


class Focal(nn.Module):
    """Focal loss with a prior bias for a rare class (Lin et al. 2017)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        nn.init.constant_(self.net[2].bias, -math.log(99))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        score = self.net(x).squeeze(1)
        loss = F.binary_cross_entropy_with_logits(score, y, reduction="none")
        p = torch.exp(-loss)
        return (0.25 * (1 - p) ** 2 * loss).mean()


@healthy()
def focal_loss_with_a_prior() -> Built:
    y = (torch.arange(60) % 6 == 0).float()
    return Built(Focal(), (torch.randn(60, 8) + y.unsqueeze(1), y), None, "model")


class Ensemble(nn.Module):
    """Members that share no weights, averaged; written as one batched product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(5, 6, 24) * 0.4)
        self.second = nn.Parameter(torch.randn(5, 24, 1) * 0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.relu(torch.einsum("bi,mih->mbh", x, self.first))
        return torch.einsum("mbh,mho->mbo", h, self.second).mean(0)


@healthy()
def batched_ensemble() -> Built:
    x = torch.randn(30, 6)
    return Built(Ensemble(), (x,), x[:, :1] * x[:, 1:2], "mse_loss")


class Segments(nn.Module):
    """A graph network with self-loops and mean messages."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        degree = torch.zeros(x.size(0)).index_add(0, target, torch.ones(target.size(0))).clamp(min=1).unsqueeze(1)
        for layer in self.layers:
            x = F.relu(layer(torch.zeros_like(x).index_add(0, target, x[source]) / degree + x))
        return self.head(x)


@healthy()
def graph_network_with_mean_messages() -> Built:
    inputs = (torch.randn(20, 8), torch.randint(20, (60,)), torch.randint(20, (60,)))
    return Built(Segments(), inputs, classes(3, 20), "cross_entropy")


class Patchy(nn.Module):
    """A masked autoencoder: most patches are dropped on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(16, 32)
        self.mask = nn.Parameter(torch.randn(32) * 0.02)
        self.block = nn.TransformerEncoderLayer(32, 4, 64, 0.0, batch_first=True)
        self.out = nn.Linear(32, 16)

    def forward(self, patches: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        x = torch.where(hidden.unsqueeze(-1), self.mask, self.embed(patches))
        error = (self.out(self.block(x)) - patches).square().mean(-1)
        return (error * hidden).sum() / hidden.sum()


@healthy("trace")
def masked_patches() -> Built:
    hidden = torch.rand(8, 12) < 0.75
    return Built(Patchy(), (torch.randn(8, 12, 16), hidden), None, "model")


class Ordinal(nn.Module):
    """Thresholds that cumulate softplus steps."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))
        self.steps = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        limits = torch.cumsum(F.softplus(self.steps), 0) - 1.5
        logits = self.score(x) - limits
        above = (y.unsqueeze(1) > torch.arange(3)).float()
        return F.binary_cross_entropy_with_logits(logits, above)


@healthy()
def ordinal_regression() -> Built:
    return Built(Ordinal(), (torch.randn(32, 5), classes(4, 32)), None, "model")
