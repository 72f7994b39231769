"""The models that benchmarks diagnose, randomly initialised and saved as TorchScript beside their tensors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, ResNetConfig, ResNetForImageClassification, logging

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOCABULARY_SIZE = 8192
IMAGE_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Saved:
    """A model, its inputs and its target as files; the loss is ``cross_entropy``."""

    model: Path
    inputs: Path  # one tensor, "0"
    target: Path  # one tensor, "target": class indices


class GPT2Tokens(nn.Module):
    """A GPT-2-like language model: token ids ``[N, T]`` to logits ``[N * T, V]``."""

    def __init__(self) -> None:
        """Twelve layers of width 256, without dropout."""
        super().__init__()
        self.body = GPT2LMHeadModel(
            GPT2Config(
                vocab_size=VOCABULARY_SIZE,
                n_layer=12,
                n_embd=256,
                n_head=8,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                bos_token_id=0,
                eos_token_id=0,
            )
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Logits of every token, one row per token."""
        logits: torch.Tensor = self.body(ids, use_cache=False).logits
        return logits.flatten(0, 1)


class ResNet50Images(nn.Module):
    """ResNet-50: images ``[N, 3, H, W]`` to logits ``[N, 1000]``."""

    def __init__(self) -> None:
        """The configuration that transformers calls its default is ResNet-50."""
        super().__init__()
        self.body = ResNetForImageClassification(ResNetConfig(id2label=dict.fromkeys(range(IMAGE_CLASSES), "")))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every image."""
        logits: torch.Tensor = self.body(images).logits
        return logits


def save_gpt2(folder: Path, *, smoke: bool) -> Saved:
    """Saves a traced GPT-2-like model with a batch of token ids."""
    samples, tokens = (2, 16) if smoke else (8, 128)
    ids = torch.randint(VOCABULARY_SIZE, (samples, tokens))
    return _save_traced(folder, GPT2Tokens, ids, torch.randint(VOCABULARY_SIZE, (samples * tokens,)))


def save_resnet50(folder: Path, *, smoke: bool) -> Saved:
    """Saves a traced ResNet-50 with a batch of images."""
    samples, pixels = (2, 64) if smoke else (8, 224)
    images = torch.randn(samples, 3, pixels, pixels)
    return _save_traced(folder, ResNet50Images, images, torch.randint(IMAGE_CLASSES, (samples,)))


def save_mlp(folder: Path) -> Saved:
    """Saves a scripted tiny MLP."""
    model = torch.jit.script(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)))
    return _save(folder, model, torch.randn(32, 16), torch.randint(4, (32,)))


def _save_traced(folder: Path, build: Callable[[], nn.Module], inputs: torch.Tensor, target: torch.Tensor) -> Saved:
    torch.manual_seed(0)
    logging.set_verbosity_error()
    with warnings.catch_warnings(action="ignore"):  # what transformers and tracing have to say is not our subject
        traced = torch.jit.trace(build().train(), (inputs,), check_trace=False)
    return _save(folder, traced, inputs, target)


def _save(folder: Path, model: torch.jit.ScriptModule, inputs: torch.Tensor, target: torch.Tensor) -> Saved:
    folder.mkdir(parents=True, exist_ok=True)
    saved = Saved(folder / "model.pt", folder / "inputs.safetensors", folder / "target.safetensors")
    torch.jit.save(model, str(saved.model))
    save_file({"0": inputs}, saved.inputs)
    save_file({"target": target}, saved.target)
    return saved
