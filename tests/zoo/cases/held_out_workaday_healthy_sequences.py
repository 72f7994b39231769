"""Healthy networks for text and series as people write them at work; written before any rule saw them."""

from __future__ import annotations

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
