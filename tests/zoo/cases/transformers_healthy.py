"""Healthy architectures of the transformers library, randomly initialised from small configurations."""

from __future__ import annotations

import torch
import transformers as hf
from torch import nn

from zoo.case import Built, healthy


class Logits(nn.Module):
    """Traces badly without it: returns one field of a model's output."""

    def __init__(self, body: nn.Module, field: str) -> None:
        super().__init__()
        self.body = body
        self.field = field

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = getattr(self.body(x), self.field)
        return found


TOKENS = 120


def tokens() -> torch.Tensor:
    return torch.randint(1, TOKENS, (4, 16))


class NextToken(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.body(x, use_cache=False).logits
        return logits.transpose(1, 2)


@healthy("trace")
def gpt2() -> Built:
    config = hf.GPT2Config(vocab_size=TOKENS, n_positions=32, n_embd=48, n_layer=4, n_head=4)
    return Built(NextToken(hf.GPT2LMHeadModel(config)), (tokens(),), tokens(), "cross_entropy")


@healthy("trace")
def llama() -> Built:
    config = hf.LlamaConfig(
        vocab_size=TOKENS, hidden_size=48, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    return Built(NextToken(hf.LlamaForCausalLM(config)), (tokens(),), tokens(), "cross_entropy")


@healthy("trace")
def bert_classifier() -> Built:
    config = hf.BertConfig(
        vocab_size=TOKENS,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=96,
        num_labels=3,
    )
    model = Logits(hf.BertForSequenceClassification(config), "logits")
    return Built(model, (tokens(),), torch.tensor([0, 1, 2, 1]), "cross_entropy")


@healthy("trace")
def resnet() -> Built:
    config = hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[2, 2], num_labels=5)
    model = Logits(hf.ResNetForImageClassification(config), "logits")
    return Built(model, (torch.randn(6, 3, 64, 64),), torch.arange(6) % 5, "cross_entropy")


@healthy("trace")
def vision_transformer() -> Built:
    config = hf.ViTConfig(
        hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    model = Logits(hf.ViTForImageClassification(config), "logits")
    return Built(model, (torch.randn(6, 3, 32, 32),), torch.arange(6) % 5, "cross_entropy")


@healthy("trace")
def convnext() -> Built:
    config = hf.ConvNextConfig(hidden_sizes=[16, 32], depths=[2, 2], num_stages=2, patch_size=4, num_labels=5)
    model = Logits(hf.ConvNextForImageClassification(config), "logits")
    return Built(model, (torch.randn(6, 3, 32, 32),), torch.arange(6) % 5, "cross_entropy")
