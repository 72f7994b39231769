"""Randomly initialised architectures of transformers, traced: no rule may raise its voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from observed_models import alarms, observed

if TYPE_CHECKING:
    from collections.abc import Callable

transformers = pytest.importorskip("transformers")
# What transformers deprecates inside itself is its own affair.
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:transformers", "ignore::DeprecationWarning:transformers")
SMALL = {"num_hidden_layers": 3, "hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
WORDS = {"vocab_size": 120}
PICTURE = {"image_size": 32, "patch_size": 8}


class Field(nn.Module):
    """Returns one field of what a model gives."""

    def __init__(self, model: nn.Module, argument: str, field: str) -> None:
        super().__init__()
        self.model, self.argument, self.field = model, argument, field

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return getattr(self.model(**{self.argument: x}), self.field)


def text(model: nn.Module, field: str = "logits") -> tuple[nn.Module, torch.Tensor]:
    return Field(model, "input_ids", field), torch.randint(0, 120, (2, 16))


def picture(model: nn.Module, size: int = 32) -> tuple[nn.Module, torch.Tensor]:
    return Field(model, "pixel_values", "logits"), torch.randn(2, 3, size, size)


ARCHITECTURES: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {
    "gpt2": lambda: text(
        transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                n_layer=4, n_embd=32, n_head=4, use_cache=False, bos_token_id=0, eos_token_id=0, **WORDS
            )
        )
    ),
    "bert": lambda: text(transformers.BertForSequenceClassification(transformers.BertConfig(**SMALL, **WORDS))),
    "bert_with_idle_pooler": lambda: text(
        transformers.BertModel(transformers.BertConfig(**SMALL, **WORDS)), "last_hidden_state"
    ),
    "llama": lambda: text(transformers.LlamaForCausalLM(transformers.LlamaConfig(use_cache=False, **SMALL, **WORDS))),
    "vit": lambda: picture(transformers.ViTForImageClassification(transformers.ViTConfig(**SMALL, **PICTURE))),
    "resnet": lambda: picture(
        transformers.ResNetForImageClassification(
            transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16, 32, 64], depths=[2, 2, 2, 2])
        ),
        64,
    ),
    "convnext": lambda: picture(
        transformers.ConvNextForImageClassification(
            transformers.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[2, 2, 2, 2])
        ),
        64,
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_silent(name: str, training: bool) -> None:  # noqa: FBT001 - a parameter of the test
    torch.manual_seed(3)
    model, batch = ARCHITECTURES[name]()
    found = alarms(observed(model.train(training), (batch,), "trace"))
    # Its BatchNorm layers never adapt again, and that is worth a warning.
    expected = ["inference-trace"] if name == "resnet" and not training else []
    assert expected == [finding.code for finding in found]
