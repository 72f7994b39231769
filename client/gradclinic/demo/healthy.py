"""Two models that learn: a GPT-2 and a ResNet of transformers, small and randomly initialised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

VOCABULARY = 256
CLASSES = 10


class LanguageModel(nn.Module):
    """A GPT-2 whose forward returns what a next-token loss takes."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import GPT2Config, GPT2LMHeadModel  # noqa: PLC0415 - takes seconds

        size = {"n_layer": 4, "n_head": 4, "n_embd": 64, "n_positions": 64, "vocab_size": VOCABULARY}
        self.gpt2 = GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0))

    def forward(self, tokens: Tensor) -> Tensor:
        """``tokens``: ``[N, T]`` ids; logits ``[N * T, V]``."""
        output: Any = self.gpt2(tokens, use_cache=False)
        logits: Tensor = output.logits.flatten(0, 1)
        return logits


class ImageClassifier(nn.Module):
    """A ResNet whose forward returns logits."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import ResNetConfig, ResNetForImageClassification  # noqa: PLC0415 - takes seconds

        config = ResNetConfig(
            embedding_size=16, hidden_sizes=[16, 32, 64], depths=[2, 2, 2], layer_type="basic", num_labels=CLASSES
        )
        self.resnet = ResNetForImageClassification(config)

    def forward(self, images: Tensor) -> Tensor:
        """``images``: ``[N, 3, H, W]``; logits ``[N, C]``."""
        output: Any = self.resnet(images)
        logits: Tensor = output.logits
        return logits


def quiet_transformers() -> None:
    """Keeps transformers from telling about its own defaults."""
    from transformers import logging  # noqa: PLC0415 - takes seconds

    logging.set_verbosity_error()


def tokens(batch: int = 8, length: int = 32) -> tuple[Tensor, Tensor]:
    """Random token ids ``[N, T]`` and the ids that follow them ``[N * T]``."""
    ids = torch.randint(VOCABULARY, (batch, length + 1))
    return ids[:, :-1].contiguous(), ids[:, 1:].flatten()


def images(batch: int = 16, side: int = 32) -> tuple[Tensor, Tensor]:
    """Random images ``[N, 3, H, W]`` and class indices ``[N]``."""
    return torch.randn(batch, 3, side, side), torch.randint(CLASSES, (batch,))
