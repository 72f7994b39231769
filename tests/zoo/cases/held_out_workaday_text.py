"""Networks for text as people write them, each with one fault; written before any rule saw them."""

from __future__ import annotations

import torch
from torch import nn

from zoo.case import Built, Expected, classes, faulty

WORDS = 80


def sentences(batch: int = 8, steps: int = 12) -> torch.Tensor:
    return torch.randint(1, WORDS, (batch, steps))


class LstmClassifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.lstm = nn.LSTM(16, 24, batch_first=True)
        self.head = nn.Linear(24, 3)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        out, _ = self.lstm(self.embed(tokens))
        return self.head(out[:, -1])


def read(model: nn.Module, suffers: tuple[str, ...] = ()) -> Built:
    return Built(model, (sentences(),), classes(3, 8), "cross_entropy", suffers=suffers)


@faulty(Expected("saturated-activation", module="lstm"), "zero")
def lstm_whose_gates_are_all_shut() -> Built:
    model = LstmClassifier()
    nn.init.constant_(model.lstm.bias_ih_l0, -300.0)
    return read(model, ("embed.weight", "lstm.weight_ih_l0"))


@faulty(Expected("saturated-activation", module="lstm"), "told")
def lstm_weights_drawn_from_a_wide_normal() -> Built:
    model = LstmClassifier()
    for name, each in model.lstm.named_parameters():
        if "weight" in name:
            nn.init.normal_(each, std=20.0)

    def shown() -> bool:
        gates = model.embed(sentences())[:, 0] @ model.lstm.weight_ih_l0.T
        return float((gates.abs() > 6).float().mean()) > 0.8

    return Built(model, (sentences(),), classes(3, 8), "cross_entropy", shown=shown)


class OwnAttention(nn.Module):
    def __init__(self, width: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, steps, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, steps, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1)
        weights = scores.softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(batch, steps, width))


class Block(nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = OwnAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Linear(32, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TinyGpt(nn.Module):
    def __init__(self, depth: int = 2) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.blocks = nn.ModuleList([Block() for _ in range(depth)])
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, WORDS)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).transpose(1, 2)


def language(model: nn.Module, suffers: tuple[str, ...] = ()) -> Built:
    return Built(model, (sentences(),), sentences(), "cross_entropy", suffers=suffers)


@faulty(Expected("saturated-softmax", module="blocks.1.attn", op="aten::softmax"), "told")
def attention_weights_one_hot_in_one_block() -> Built:
    model = TinyGpt()
    nn.init.normal_(model.blocks[1].attn.qkv.weight, std=12.0)
    return language(model)


@faulty(Expected("unused-parameter", module="blocks.0.norm2"), "none")
def second_norm_forgotten() -> Built:
    class Forgetful(Block):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm1(x))

    model = TinyGpt(1)
    model.blocks[0] = Forgetful()
    return language(model, ("blocks.0.norm2.weight",))


@faulty(Expected("zero-weights", parameter=("blocks.0.mlp.0.weight", "blocks.0.mlp.2.weight")), "zero")
def both_layers_of_a_feed_forward_at_zero() -> Built:
    model = TinyGpt()
    for name, each in model.named_parameters():
        if name.startswith("blocks.0.mlp."):
            nn.init.zeros_(each)
    return language(model, ("blocks.0.mlp.0.weight", "blocks.0.mlp.2.weight"))


@faulty(Expected("non-differentiable-op", op=("aten::gt", "aten::topk", "aten::ge")), "none")
def hard_attention_mask_from_scores() -> Built:
    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16)
            self.score = nn.Linear(16, 1)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = self.embed(tokens)
            kept = (self.score(x) > 0).float()
            return self.head((x * kept).sum(1) / kept.sum(1).clamp(min=1.0))

    return read(Hard(), ("score.weight",))


@faulty(Expected("detached-graph", line="detach()"), "none")
def teacher_forced_decoder_cut_from_its_encoder() -> Built:
    class Seq2Seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16)
            self.encoder = nn.GRU(16, 24, batch_first=True)
            self.decoder = nn.GRU(16, 24, batch_first=True)
            self.target_embed = nn.Embedding(WORDS, 16)
            self.head = nn.Linear(24, WORDS)

        def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            _, state = self.encoder(self.embed(source))
            out, _ = self.decoder(self.target_embed(target), state.detach())
            return self.head(out).transpose(1, 2)

    return Built(Seq2Seq(), (sentences(), sentences()), sentences(), "cross_entropy", suffers=("encoder.weight_ih_l0",))


@faulty(Expected("non-finite-forward", op=("aten::div", "aten::softmax", "aten::true_divide")), "non-finite")
def mean_over_a_sentence_of_padding_only() -> Built:
    class Averaged(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16, padding_idx=0)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            mask = (tokens != 0).float().unsqueeze(-1)
            return self.head((self.embed(tokens) * mask).sum(1) / mask.sum(1))

    tokens = sentences()
    tokens[5] = 0
    return Built(Averaged(), (tokens,), classes(3, 8), "cross_entropy", suffers=("head.weight",))


@faulty(Expected("sample-leak"), "told")
def transformer_layer_that_takes_time_first() -> Built:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16)
            self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0)
            self.head = nn.Linear(16, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.layer(self.embed(tokens)).mean(1))

    model = Encoder()

    def shown() -> bool:
        tokens = sentences()
        other = tokens.clone()
        other[0] = (other[0] + 7) % WORDS
        return not torch.allclose(model(tokens)[1:], model(other)[1:], atol=1e-6)

    return Built(model, (sentences(),), classes(3, 8), "cross_entropy", shown=shown)


@faulty(Expected("missing-softmax", name="loss"), "told")
def tagger_without_log_softmax() -> Built:
    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(WORDS, 16)
            self.conv = nn.Conv1d(16, 24, 3, padding=1)
            self.head = nn.Linear(24, 5)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.conv(self.embed(tokens).transpose(1, 2)))
            return self.head(x.transpose(1, 2)).transpose(1, 2)

    return Built(Tagger(), (sentences(),), torch.randint(0, 5, (8, 12)), "nll_loss")


@faulty(Expected("target-out-of-range", name="target"), "raises")
def padding_label_that_nobody_ignores() -> Built:
    targets = sentences()
    targets[:, 9:] = -1
    return Built(TinyGpt(), (sentences(),), targets, "cross_entropy")


@faulty(Expected("excessive-dropout", module="drop"), "told")
def keep_rate_given_as_rate() -> Built:
    class Dropping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.EmbeddingBag(WORDS, 32)
            self.drop = nn.Dropout(0.95)
            self.head = nn.Linear(32, 3)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.head(self.drop(self.embed(tokens)))

    return read(Dropping())
