"""Recurrent layers, attention and embeddings: measured, and equal to eager autograd."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it
from torch.nn.utils import rnn
from torch.nn.utils.parametrizations import weight_norm

from eager_reference import Request, compared, measured, only, sites, unobserved
from gradclinic_engine.measurements import GradientStatus


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


TOKENS = torch.tensor([[1, 2, 0, 8], [3, 3, 5, 0]])


class Recurrent(nn.Module):
    def __init__(self, kind: str, *, bidirectional: bool = False, layers: int = 1) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.cells: nn.Module = getattr(nn, kind)(5, 4, layers, bidirectional=bidirectional, batch_first=True)
        self.head = nn.Linear(8 if bidirectional else 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sequence, _ = self.cells(x)
        return self.head(sequence[:, -1])


class FinalState(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.cells = nn.LSTM(5, 4, 2, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, (hidden, cell) = self.cells(x)
        return hidden[-1] * cell[0]


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.cells = nn.GRU(5, 4, batch_first=True)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        output, _ = self.cells(packed)
        padded, _ = rnn.pad_packed_sequence(output, batch_first=True)
        return self.head(padded)


class Cells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.lstm = nn.LSTMCell(5, 4)
        self.gru = nn.GRUCell(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.zeros(x.shape[1], 4)
        state = (hidden, hidden)
        for step in range(x.shape[0]):
            state = self.lstm(x[step], state)
            hidden = self.gru(state[0], hidden)
        return hidden


class Attention(nn.Module):
    def __init__(self, *, weights: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.weights = weights

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found, weights = self.attention(x, x, x, need_weights=self.weights)
        if weights is not None:
            found = found + weights.sum()
        return found


class Scaled(nn.Module):
    def __init__(self, *, causal: bool) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.project = nn.Linear(8, 24)
        self.causal = causal

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.project(x).view(x.shape[0], x.shape[1], 2, 12).transpose(1, 2).chunk(3, -1)
        return F.scaled_dot_product_attention(query, key, value, is_causal=self.causal)


def encoder(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(5)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.both = nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.both(x, y)


class Words(nn.Module):
    def __init__(self, *, sparse: bool = False, padding: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed = nn.Embedding(9, 4, padding_idx=padding, sparse=sparse)
        self.head = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.embed(x).mean(1))


class Bag(nn.Module):
    def __init__(self, mode: str, *, sparse: bool = False) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.bag = nn.EmbeddingBag(9, 4, mode=mode, sparse=sparse)

    def forward(self, x: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.bag(x, offsets))


class OnlyWords(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed = nn.Embedding(9, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embed(x)


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.linear = weight_norm(nn.Linear(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.linear(x))


SEQUENCE = x_of(3, 6, 5)
FEATURES = x_of(2, 5, 8)
BAGS = (torch.tensor([1, 2, 2, 8, 0, 5]), torch.tensor([0, 2, 5]))

BOTH: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]] = {
    "lstm": (Recurrent("LSTM"), (SEQUENCE,)),
    "gru, two layers": (Recurrent("GRU", layers=2), (SEQUENCE,)),
    "rnn, bidirectional": (Recurrent("RNN", bidirectional=True), (SEQUENCE,)),
    "lstm's states": (FinalState(), (SEQUENCE,)),
    "packed": (Packed(), (SEQUENCE, torch.tensor([6, 2, 4]))),
    "cells": (Cells(), (SEQUENCE,)),
    "attention": (Attention(weights=False), (FEATURES,)),
    "attention with weights": (Attention(weights=True), (FEATURES,)),
    "scaled dot product": (Scaled(causal=True), (FEATURES,)),
    "encoder": (encoder(), (FEATURES,)),
    "encoder with dropout": (encoder(0.3), (FEATURES,)),
    "transformer": (Transformer(), (FEATURES, FEATURES + 1)),
    "padded words": (Words(padding=0), (TOKENS,)),
    "sparse words": (Words(sparse=True), (TOKENS,)),
    "sparse padded words": (Words(sparse=True, padding=0), (TOKENS,)),
    "bag of means": (Bag("mean"), BAGS),
    "sparse bag of sums": (Bag("sum", sparse=True), BAGS),
    "bag of maxima": (Bag("max"), BAGS),
    "only words": (OnlyWords(), (TOKENS,)),
}


# torch's own Transformer warns of itself when it is scripted.
@pytest.mark.filterwarnings("ignore:'norm' was found in ScriptModule constants:UserWarning")
@pytest.mark.parametrize("case", BOTH)
def test_scripted(case: str) -> None:
    compared(Request(*BOTH[case]))


@pytest.mark.parametrize("case", [*BOTH, "weight norm"])
def test_traced(case: str) -> None:
    model, arguments = BOTH.get(case, (Normalised(), (x_of(3, 4),)))
    compared(Request(model, arguments, "trace"))


def test_a_sparse_gradient_counts_the_rows_that_it_leaves_out() -> None:
    found = measured(Request(Words(sparse=True), (TOKENS,)))
    weight = next(each for each in found.parameters if each.name == "embed.weight")
    assert weight.gradient is not None
    # 0, 1, 2, 3, 5 and 8 of nine words occur, with four numbers each.
    assert (36, 12) == (weight.gradient.element_count, weight.gradient.zero_count)
    assert GradientStatus.FLOWING is weight.status


def test_the_outputs_of_a_recurrent_layer_are_sites_of_their_own() -> None:
    found = measured(Request(FinalState(), (SEQUENCE,)))
    sequence, hidden, cell = sites(found, "lstm")
    assert [(0, None), (1, (4, 6, 4)), (2, (4, 6, 4))] == [
        (sequence.output, sequence.gradient),
        (hidden.output, hidden.shape),
        (cell.output, cell.shape),
    ]
    assert hidden.gradient is not None
    assert math.isfinite(hidden.gradient.rms)


def test_the_encoder_is_looked_into() -> None:
    found = measured(Request(encoder(), (FEATURES,)))
    assert {} == unobserved(found)
    assert ["layers.0.self_attn", "layers.1.self_attn"] == [
        site.module for site in sites(found, "scaled_dot_product_attention") if site.calls
    ]
    assert only(measured(Request(Scaled(causal=False), (FEATURES,))), "scaled_dot_product_attention").gradient
