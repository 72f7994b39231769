"""Healthy networks for sequences: recurrent cells, attention, speech, tied embeddings."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody's name for it

from zoo.case import Built, classes, healthy


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
