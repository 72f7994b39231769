"""Healthy models of sequences and sets that rules were not made with."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


class BidirectionalSentiment(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(400, 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 20, num_layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(40, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        hidden, _ = self.lstm(self.embed(tokens))
        keep = (tokens != 0).float().unsqueeze(-1)
        return self.out((hidden * keep).sum(1) / keep.sum(1))


@healthy()
def bidirectional_lstm_with_padding() -> Built:
    tokens = torch.randint(1, 400, (10, 18))
    for row in range(10):
        tokens[row, 6 + row :] = 0
    return Built(BidirectionalSentiment(), (tokens,), classes(2, 10), "cross_entropy")


class AttentiveDecoder(nn.Module):
    """Sequence to sequence with teacher forcing and additive attention at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 20)
        self.encoder = nn.GRU(20, 24, batch_first=True)
        self.cell = nn.GRUCell(20 + 24, 24)
        self.query = nn.Linear(24, 24)
        self.memory = nn.Linear(24, 24)
        self.score = nn.Linear(24, 1)
        self.out = nn.Linear(24, 50)

    def forward(self, source: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
        memory, last = self.encoder(self.embed(source))
        state = last[0]
        logits = []
        for step in range(previous.shape[1]):
            energy = self.score(torch.tanh(self.query(state).unsqueeze(1) + self.memory(memory)))
            context = (F.softmax(energy, dim=1) * memory).sum(1)
            state = self.cell(torch.cat([self.embed(previous[:, step]), context], dim=1), state)
            logits.append(self.out(state))
        return torch.stack(logits, dim=2)


@healthy()
def sequence_to_sequence_with_attention() -> Built:
    inputs = (torch.randint(0, 50, (6, 11)), torch.randint(0, 50, (6, 9)))
    return Built(AttentiveDecoder(), inputs, torch.randint(0, 50, (6, 9)), "cross_entropy")


class CellByHand(nn.Module):
    """LSTM equations written out; forget gate bias of one."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(3 + 16, 64)
        self.out = nn.Linear(16, 1)
        with torch.no_grad():
            self.gates.bias[16:32] = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.zeros(x.size(0), 16)
        c = torch.zeros(x.size(0), 16)
        for t in range(x.size(1)):
            i, f, g, o = self.gates(torch.cat([x[:, t], h], 1)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        return self.out(h)


@healthy()
def lstm_equations_by_hand() -> Built:
    x = torch.randn(20, 25, 3)
    return Built(CellByHand(), (x,), x.mean((1, 2)).unsqueeze(1), "mse_loss")


class GatedConvolution(nn.Module):
    """WaveNet block: causal, dilated, tanh times sigmoid, residual and skip."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.filter = nn.Conv1d(width, width, 2, dilation=dilation)
        self.gate = nn.Conv1d(width, width, 2, dilation=dilation)
        self.residual = nn.Conv1d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, [self.dilation, 0])
        return x + self.residual(torch.tanh(self.filter(padded)) * torch.sigmoid(self.gate(padded)))


@healthy()
def causal_gated_convolutions() -> Built:
    blocks = [GatedConvolution(16, 2**i) for i in range(6)]
    model = nn.Sequential(nn.Conv1d(1, 16, 1), *blocks, nn.ReLU(), nn.Conv1d(16, 8, 1))
    time = torch.linspace(0, 20, 65)
    wave = torch.sin(time + torch.arange(6).unsqueeze(1))
    target = ((wave[:, 1:] + 1) * 3.999).long()
    return Built(model, (wave[:, None, :64],), target, "cross_entropy")


class CrossAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.source = nn.Embedding(80, 32, padding_idx=0)
        self.queries = nn.Parameter(torch.randn(4, 32) * 0.1)
        self.attend = nn.MultiheadAttention(32, 4, batch_first=True)
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 80)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        memory = self.source(tokens)
        queries = self.queries.unsqueeze(0).expand(tokens.shape[0], 4, 32)
        found, _ = self.attend(queries, memory, memory, key_padding_mask=tokens == 0)
        return self.head(self.norm(queries + found)).transpose(1, 2)


@healthy()
def cross_attention_with_learned_queries() -> Built:
    tokens = torch.randint(1, 80, (7, 13))
    tokens[:3, 10:] = 0
    return Built(CrossAttention(), (tokens,), torch.randint(1, 80, (7, 4)), "cross_entropy")


class RmsNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale


class ModernBlock(nn.Module):
    """Pre-norm, fused attention, SwiGLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.gate_up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, steps, 3, 4, width // 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.proj(mixed.transpose(1, 2).reshape(batch, steps, width))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class SmallLanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(90, 32)
        self.blocks = nn.ModuleList([ModernBlock(32) for _ in range(12)])
        self.norm = RmsNorm(32)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embed.weight).flatten(0, 1)


@healthy()
def twelve_pre_norm_blocks_with_tied_output() -> Built:
    tokens = torch.randint(0, 90, (4, 17))
    options = {"label_smoothing": 0.1}
    return Built(SmallLanguageModel(), (tokens[:, :-1],), tokens[:, 1:].flatten(), "cross_entropy", options)


class LinearAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(10, 60)
        self.head = nn.Linear(20, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        mixed = torch.einsum("btd,bde->bte", q, torch.einsum("btd,bte->bde", k, v))
        return self.head((mixed / torch.einsum("btd,bd->bt", q, k.sum(1)).unsqueeze(-1)).mean(1))


@healthy()
def linear_attention() -> Built:
    return Built(LinearAttention(), (torch.randn(16, 12, 10),), classes(4, 16), "cross_entropy")


class StateSpace(nn.Module):
    """A diagonal recurrence with learned decays."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(4, 24)
        self.log_rate = nn.Parameter(torch.linspace(-4, 0, 24))
        self.out = nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        decay = torch.exp(-torch.exp(self.log_rate))
        driven = self.into(x)
        state = torch.zeros(x.shape[0], 24)
        for t in range(x.shape[1]):
            state = decay * state + (1 - decay) * driven[:, t]
        return self.out(state)


@healthy()
def diagonal_state_space() -> Built:
    x = torch.randn(16, 40, 4)
    return Built(StateSpace(), (x,), x[:, -8:].mean(1)[:, :2] * 2, "huber_loss", {"delta": 0.5})


class SpeechRecogniser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Conv1d(20, 32, 5, stride=2, padding=2), nn.GELU())
        self.gru = nn.GRU(32, 24, bidirectional=True)
        self.norm = nn.LayerNorm(48)
        self.out = nn.Linear(48, 12)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        h, _ = self.gru(self.front(features).permute(2, 0, 1))
        return F.log_softmax(self.out(self.norm(h)), dim=2)


@healthy()
def ctc_after_a_bidirectional_gru() -> Built:
    target = {
        "targets": torch.randint(1, 12, (5, 7)),
        "input_lengths": torch.tensor([32, 30, 28, 26, 24]),
        "target_lengths": torch.tensor([7, 6, 6, 5, 3]),
    }
    return Built(SpeechRecogniser(), (torch.randn(5, 20, 64),), target, "ctc_loss", {"zero_infinity": True})


class MaskedModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(70, 32)
        self.position = nn.Parameter(torch.randn(1, 20, 32) * 0.02)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.1, activation="gelu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(32, 70)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.embed(tokens) + self.position)).flatten(0, 1)


@healthy()
def masked_tokens_with_most_labels_ignored() -> Built:
    tokens = torch.randint(1, 70, (8, 20))
    chosen = torch.rand(8, 20) < 0.15
    labels = torch.where(chosen, tokens, torch.full_like(tokens, -100))
    return Built(MaskedModel(), (tokens.masked_fill(chosen, 0),), labels.flatten(), "cross_entropy")


class Highway(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Linear(width, width)
        self.carry = nn.Linear(width, width)
        nn.init.constant_(self.carry.bias, -2.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.carry(x))
        return gate * F.relu(self.body(x)) + (1 - gate) * x


@healthy()
def ten_highway_layers() -> Built:
    model = nn.Sequential(nn.Linear(15, 32), *[Highway(32) for _ in range(10)], nn.Linear(32, 3))
    return Built(model, (torch.randn(32, 15),), classes(3, 32), "cross_entropy")


class WithExogenous(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 16, batch_first=True)
        self.out = nn.Linear(16, 2)

    def forward(self, series: torch.Tensor) -> torch.Tensor:
        return self.out(self.rnn(series)[0][:, -1])


@healthy()
def time_series_with_one_constant_feature() -> Built:
    series = torch.randn(24, 12, 6).cumsum(1) * 0.4
    series[:, :, 5] = 1.0
    return Built(WithExogenous(), (series,), series[:, -1, :2] * 0.8, "mse_loss")


class BagOfWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(300, 16, mode="mean")
        self.out = nn.Linear(16, 4)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.bag(tokens))


@healthy()
def embedding_bag_classifier() -> Built:
    return Built(BagOfWords(), (torch.randint(0, 300, (32, 8)),), classes(4, 32), "cross_entropy")


class LinearChain(nn.Module):
    """Conditional random field: the loss is log Z minus the score of the right path."""

    def __init__(self) -> None:
        super().__init__()
        self.emit = nn.Linear(8, 5)
        self.transition = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
        scores = self.emit(x)
        alpha = scores[:, 0]
        right = scores[:, 0].gather(1, tags[:, :1]).squeeze(1)
        for t in range(1, x.shape[1]):
            alpha = torch.logsumexp(alpha.unsqueeze(2) + self.transition, dim=1) + scores[:, t]
            right = right + scores[:, t].gather(1, tags[:, t : t + 1]).squeeze(1)
            right = right + self.transition[tags[:, t - 1], tags[:, t]]
        return (torch.logsumexp(alpha, dim=1) - right).mean()


@healthy()
def conditional_random_field() -> Built:
    return Built(LinearChain(), (torch.randn(12, 9, 8), torch.randint(0, 5, (12, 9))), None, "model")


class DeepSet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))
        self.all = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, x: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        return self.all((self.each(x) * present.unsqueeze(-1)).sum(1) / math.sqrt(x.shape[1])).squeeze(1)


@healthy()
def deep_set_with_absent_members() -> Built:
    x, present = torch.randn(30, 10, 4), (torch.rand(30, 10) > 0.3).float()
    return Built(DeepSet(), (x, present), (x[:, :, 0] * present).sum(1), "mse_loss")


class GraphAttention(nn.Module):
    """Attention over edges: a softmax by scatter."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 16)
        self.left = nn.Linear(16, 1)
        self.right = nn.Linear(16, 1)
        self.out = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor, edges: torch.Tensor) -> torch.Tensor:
        source, destination = edges[0], edges[1]
        h = self.body(x)
        energy = F.leaky_relu(self.left(h)[source] + self.right(h)[destination], 0.2).squeeze(1).exp()
        total = torch.zeros(x.shape[0]).scatter_add(0, destination, energy)
        weight = energy / (total[destination] + 1e-9)
        mixed = torch.zeros_like(h).index_add(0, destination, weight.unsqueeze(1) * h[source])
        return self.out(F.elu(h + mixed))


@healthy()
def attention_over_graph_edges() -> Built:
    edges = torch.randint(0, 40, (2, 150))
    return Built(GraphAttention(), (torch.randn(40, 6), edges), classes(3, 40), "cross_entropy")
