"""Healthy networks for text, series and decisions as people write them at work; written before any rule saw them."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy

WORDS = 80


def sentences(batch: int = 8, steps: int = 12) -> torch.Tensor:
    return torch.randint(1, WORDS, (batch, steps))


class RotaryAttention(nn.Module):
    def __init__(self, width: int = 32, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        rates = 1.0 / (10000 ** (torch.arange(0, width // heads, 2).float() / (width // heads)))
        angles = torch.outer(torch.arange(32).float(), rates)
        self.cos = nn.Buffer(angles.cos().repeat(1, 2))
        self.sin = nn.Buffer(angles.sin().repeat(1, 2))

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, dim=-1)
        turned = torch.cat([-right, left], dim=-1)
        steps = x.size(-2)
        return x * self.cos[:steps] + turned * self.sin[:steps]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        q, k, v = self.qkv(x).view(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(self.turned(q), self.turned(k), v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(batch, steps, width))


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class SwiGlu(nn.Module):
    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.gate = nn.Linear(width, wide, bias=False)
        self.up = nn.Linear(width, wide, bias=False)
        self.down = nn.Linear(wide, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class RotaryBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(32), RmsNorm(32)
        self.attn, self.mlp = RotaryAttention(), SwiGlu(32, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class RotaryLanguageModel(nn.Module):
    def __init__(self, depth: int = 8) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 32)
        self.blocks = nn.ModuleList([RotaryBlock() for _ in range(depth)])
        self.norm = RmsNorm(32)
        self.head = nn.Linear(32, WORDS, bias=False)
        for each in self.modules():
            if isinstance(each, (nn.Linear, nn.Embedding)):
                nn.init.normal_(each.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).transpose(1, 2)


@healthy()
def rotary_language_model_with_gpt_initialisation() -> Built:
    return Built(RotaryLanguageModel(), (sentences(),), sentences(), "cross_entropy")


@healthy()
def own_multihead_attention_from_the_library() -> Built:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16, padding_idx=0)
            layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            hidden = self.encoder(self.embed(tokens), src_key_padding_mask=tokens == 0)
            kept = (tokens != 0).unsqueeze(-1).float()
            return self.head((hidden * kept).sum(1) / kept.sum(1))

    tokens = sentences()
    tokens[3, 6:] = 0
    tokens[5, 4:] = 0
    return Built(Encoder(), (tokens,), classes(3, 8), "cross_entropy")


class CellLoop(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 16)
        self.out = nn.Linear(16, 2)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(series.size(0), 16)
        c = torch.zeros(series.size(0), 16)
        for step in range(series.size(1)):
            h, c = self.cell(series[:, step], (h, c))
        return self.out(h)


@healthy()
def lstm_cell_in_a_loop_of_one_turn() -> Built:
    return Built(CellLoop(), (torch.randn(8, 1, 6),), torch.randn(8, 2), "mse_loss")


@healthy()
def lstm_cell_in_a_loop() -> Built:
    return Built(CellLoop(), (torch.randn(8, 20, 6),), torch.randn(8, 2), "mse_loss")


class OwnRecurrence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Linear(5, 12)
        self.rec = nn.Linear(12, 12, bias=False)
        self.out = nn.Linear(12, 1)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(series.size(0), 12)
        for step in range(series.size(1)):
            h = torch.tanh(self.inp(series[:, step]) + self.rec(h))
        return self.out(h)


@healthy()
def own_recurrence_of_one_turn() -> Built:
    return Built(OwnRecurrence(), (torch.randn(8, 1, 5),), torch.randn(8, 1), "mse_loss")


@healthy()
def bidirectional_gru_of_two_layers_with_packed_mean() -> Built:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gru = nn.GRU(6, 12, num_layers=2, bidirectional=True, batch_first=True, dropout=0.2)
            self.norm = nn.LayerNorm(24)
            self.head = nn.Linear(24, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out, _ = self.gru(x)
            return self.head(self.norm(out).mean(dim=1))

    return Built(Pooled(), (torch.randn(8, 15, 6),), classes(3, 8), "cross_entropy")


@healthy()
def lstm_with_forget_bias_and_orthogonal_weights() -> Built:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(6, 20, batch_first=True)
            self.head = nn.Linear(20, 1)
            nn.init.orthogonal_(self.lstm.weight_hh_l0)
            nn.init.xavier_uniform_(self.lstm.weight_ih_l0)
            nn.init.zeros_(self.lstm.bias_ih_l0)
            nn.init.zeros_(self.lstm.bias_hh_l0)
            with torch.no_grad():
                self.lstm.bias_ih_l0[20:40] = 1.0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            _, (h, _) = self.lstm(x)
            return self.head(h[-1])

    return Built(Careful(), (torch.randn(8, 60, 6),), torch.randn(8, 1), "mse_loss")


@healthy()
def temporal_convolution_network() -> Built:
    class Temporal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Conv1d(4, 16, 1)
            self.layers = nn.ModuleList([nn.Conv1d(16, 16, 3, dilation=2**i) for i in range(5)])
            self.head = nn.Linear(16, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.inp(x.transpose(1, 2))
            for i, layer in enumerate(self.layers):
                x = x + F.dropout(F.relu(layer(F.pad(x, (2 << i, 0)))), 0.1, self.training)
            return self.head(x[:, :, -1])

    return Built(Temporal(), (torch.randn(8, 40, 4),), torch.randn(8, 1), "mse_loss")


@healthy()
def time_embedding_multiplied_by_python_numbers() -> Built:
    class Denoiser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(2, 32)
            self.time = nn.Linear(16, 32)
            self.out = nn.Linear(32, 2)

        def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            half = 8
            rates = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)
            angles = t[:, None] * rates[None] * 1000.0
            code = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
            return self.out(F.silu(self.inp(x) * 0.7 + self.time(code)))

    x = torch.randn(32, 2)
    return Built(Denoiser(), (x, torch.rand(32)), torch.randn(32, 2), "mse_loss")


@healthy()
def double_statistics_in_a_single_precision_model() -> Built:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 12)
            self.out = nn.Linear(12, 1)
            self.mean = 0.3
            self.deviation = 1.7

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = (x - self.mean) / self.deviation
            scale = math.sqrt(x.shape[-1])
            return self.out(F.elu(self.fc(x) / scale)) * self.deviation + self.mean

    return Built(Scaled(), (torch.randn(16, 6),), torch.randn(16, 1), "mse_loss")


@healthy()
def wide_and_deep_recommender() -> Built:
    class WideDeep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.users = nn.Embedding(5000, 8)
            self.items = nn.Embedding(9000, 8)
            self.wide = nn.Linear(10, 1)
            self.deep = nn.Sequential(nn.Linear(26, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 1))

        def forward(self, user: torch.Tensor, item: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            joined = torch.cat([self.users(user), self.items(item), x], dim=-1)
            return (self.wide(x) + self.deep(joined)).squeeze(-1)

    inputs = (torch.randint(0, 5000, (32,)), torch.randint(0, 9000, (32,)), torch.randn(32, 10))
    return Built(WideDeep(), inputs, (torch.arange(32) % 3 == 0).float(), "binary_cross_entropy_with_logits")


@healthy()
def actor_and_critic_with_shared_body() -> Built:
    class ActorCritic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
            self.policy = nn.Linear(32, 4)
            self.value = nn.Linear(32, 1)
            nn.init.orthogonal_(self.policy.weight, 0.01)

        def forward(self, state: torch.Tensor, action: torch.Tensor, returns: torch.Tensor) -> torch.Tensor:
            h = self.body(state)
            log_prob = F.log_softmax(self.policy(h), dim=-1)
            value = self.value(h).squeeze(-1)
            advantage = (returns - value).detach()
            chosen = log_prob.gather(1, action.unsqueeze(1)).squeeze(1)
            entropy = -(log_prob.exp() * log_prob).sum(-1).mean()
            return -(chosen * advantage).mean() + 0.5 * F.mse_loss(value, returns) - 0.01 * entropy

    inputs = (torch.randn(24, 6), torch.randint(0, 4, (24,)), torch.randn(24) + 2.0)
    return Built(ActorCritic(), inputs, None, "model")


@healthy()
def q_learning_with_a_gathered_action() -> Built:
    class QLearning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(
            self, state: torch.Tensor, action: torch.Tensor, reward: torch.Tensor, after: torch.Tensor
        ) -> torch.Tensor:
            chosen = self.net(state).gather(1, action.unsqueeze(1)).squeeze(1)
            with torch.no_grad():
                best = reward + 0.99 * self.net(after).max(dim=1)[0]
            return F.smooth_l1_loss(chosen, best)

    inputs = (torch.randn(24, 6), torch.randint(0, 4, (24,)), torch.randn(24), torch.randn(24, 6))
    return Built(QLearning(), inputs, None, "model")


@healthy()
def straight_through_binarised_network() -> Built:
    class Binary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(10, 32)
            self.fc2 = nn.Linear(32, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            weight = self.fc1.weight
            binary = weight + (torch.sign(weight) - weight).detach()
            h = F.linear(x, binary, self.fc1.bias) / math.sqrt(10)
            return self.fc2(F.hardtanh(h))

    return Built(Binary(), (torch.randn(16, 10),), classes(3, 16), "cross_entropy")


@healthy()
def physics_residual_with_a_scaled_loss() -> Built:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))

        def forward(self, t: torch.Tensor) -> torch.Tensor:
            step = 1e-2
            slope = (self.net(t + step) - self.net(t - step)) / (2 * step)
            return ((slope + self.net(t)) ** 2).mean() + (self.net(torch.zeros(1, 1)) - 1).pow(2).mean()

    return Built(Residual(), (torch.rand(32, 1) * 2,), None, "model")


@healthy()
def hundred_and_twenty_residual_layers() -> Built:
    class Long(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inp = nn.Linear(8, 16)
            self.layers = nn.ModuleList([nn.Linear(16, 16) for _ in range(120)])
            self.norm = nn.LayerNorm(16)
            self.out = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.inp(x)
            for layer in self.layers:
                x = x + 0.1 * F.relu(layer(x))
            return self.out(self.norm(x))

    return Built(Long(), (torch.randn(16, 8),), classes(3, 16), "cross_entropy")


@healthy()
def message_passing_with_scatter() -> Built:
    class Passing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.message = nn.Linear(16, 16)
            self.update = nn.GRUCell(16, 8)
            self.back = nn.Linear(8, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor, source: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
            for _ in range(2):
                sent = F.relu(self.message(torch.cat([x[source], x[goal]], dim=-1)))
                gathered = torch.zeros(x.size(0), 16).index_add(0, goal, sent)
                x = self.update(gathered, x)
            return self.head(self.back(x).relu())

    inputs = (torch.randn(10, 8), torch.randint(0, 10, (30,)), torch.randint(0, 10, (30,)))
    return Built(Passing(), inputs, classes(3, 10), "cross_entropy")


@healthy()
def survival_model_with_cox_likelihood() -> Built:
    class Cox(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(8, 16), nn.SELU(), nn.Linear(16, 1))

        def forward(self, x: torch.Tensor, event: torch.Tensor) -> torch.Tensor:
            risk = self.net(x).squeeze(-1)
            return -((risk - torch.logcumsumexp(risk, dim=0)) * event).sum() / event.sum()

    return Built(Cox(), (torch.randn(24, 8), (torch.rand(24) > 0.4).float()), None, "model")


@healthy()
def hand_made_layer_norm_and_softmax() -> Built:
    class HandMade(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc1 = nn.Linear(10, 20)
            self.scale = nn.Parameter(torch.ones(20))
            self.shift = nn.Parameter(torch.zeros(20))
            self.fc2 = nn.Linear(20, 4)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            h = self.fc1(x)
            h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            scores = self.fc2(F.gelu(h * self.scale + self.shift))
            scores = scores - scores.amax(-1, keepdim=True)
            log_prob = scores - scores.exp().sum(-1, keepdim=True).log()
            return -log_prob.gather(1, y.unsqueeze(1)).mean()

    return Built(HandMade(), (torch.randn(16, 10), classes(4, 16)), None, "model")


@healthy()
def normalised_embeddings_with_learned_temperature() -> Built:
    class ClipLike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Linear(20, 16)
            self.text = nn.Linear(12, 16)
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

        def forward(self, image: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
            a = self.image(image)
            b = self.text(text)
            a = a / a.norm(p=2.0, dim=-1, keepdim=True)
            b = b / b.norm(p=2.0, dim=-1, keepdim=True)
            scores = self.log_scale.exp() * a @ b.t()
            labels = torch.arange(scores.size(0))
            return (F.cross_entropy(scores, labels) + F.cross_entropy(scores.t(), labels)) / 2

    return Built(ClipLike(), (torch.randn(12, 20), torch.randn(12, 12)), None, "model")


@healthy()
def zero_initialised_convolution_of_a_control_branch() -> Built:
    class Controlled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 8, 3, padding=1)
            self.control = nn.Conv2d(1, 8, 3, padding=1)
            self.zero = nn.Conv2d(8, 8, 1)
            self.out = nn.Conv2d(8, 3, 3, padding=1)
            nn.init.zeros_(self.zero.weight)
            nn.init.zeros_(self.zero.bias)

        def forward(self, x: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
            h = F.silu(self.body(x))
            return self.out(h + self.zero(F.silu(self.control(hint))))

    inputs = (torch.randn(6, 3, 8, 8), torch.randn(6, 1, 8, 8))
    return Built(Controlled(), inputs, torch.randn(6, 3, 8, 8), "mse_loss")
