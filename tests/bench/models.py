"""The models that benchmarks diagnose, randomly initialised and saved as TorchScript beside their tensors."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VOCABULARY_SIZE = 8192
IMAGE_CLASSES = 1000
MLP_WIDTH = 1024


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
        import transformers  # noqa: PLC0415 - seconds, which only those need who build it

        super().__init__()
        transformers.logging.set_verbosity_error()
        self.body = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
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
        import transformers  # noqa: PLC0415 - seconds, which only those need who build it

        super().__init__()
        transformers.logging.set_verbosity_error()
        config = transformers.ResNetConfig(id2label=dict.fromkeys(range(IMAGE_CLASSES), ""))
        self.body = transformers.ResNetForImageClassification(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every image."""
        logits: torch.Tensor = self.body(images).logits
        return logits


class ResNet18Images(nn.Module):
    """ResNet-18: images ``[N, 3, H, W]`` to logits ``[N, 10]``."""

    def __init__(self) -> None:
        """Basic blocks, two in each of four stages."""
        import transformers  # noqa: PLC0415 - seconds, which only those need who build it

        super().__init__()
        transformers.logging.set_verbosity_error()
        config = transformers.ResNetConfig(
            depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 256, 512], layer_type="basic", num_labels=10
        )
        self.body = transformers.ResNetForImageClassification(config)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits of every image."""
        logits: torch.Tensor = self.body(images).logits
        return logits


def _wide_mlp() -> nn.Module:
    """Three layers of width 1024."""
    width = MLP_WIDTH
    return nn.Sequential(
        *(nn.Linear(width, width), nn.ReLU()), *(nn.Linear(width, width), nn.ReLU()), nn.Linear(width, width)
    )


def _tokens(*, smoke: bool) -> tuple[torch.Tensor, torch.Tensor]:
    samples, tokens = (2, 16) if smoke else (8, 128)
    return torch.randint(VOCABULARY_SIZE, (samples, tokens)), torch.randint(VOCABULARY_SIZE, (samples * tokens,))


def _images(*, smoke: bool) -> tuple[torch.Tensor, torch.Tensor]:
    samples, pixels = (2, 64) if smoke else (4, 224)
    return torch.randn(samples, 3, pixels, pixels), torch.randint(IMAGE_CLASSES, (samples,))


def _rows(*, smoke: bool) -> tuple[torch.Tensor, torch.Tensor]:
    samples = 8 if smoke else 256
    return torch.randn(samples, MLP_WIDTH), torch.randint(MLP_WIDTH, (samples,))


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model whose analysis is measured; the loss is ``cross_entropy``."""

    build: Callable[[], nn.Module]  # in training mode
    batch: Callable[..., tuple[torch.Tensor, torch.Tensor]]  # inputs and target; `smoke=True` makes it tiny


ARCHITECTURES = {
    "GPT-2-like": Architecture(GPT2Tokens, _tokens),
    "ResNet-50": Architecture(ResNet50Images, _images),
    "MLP": Architecture(_wide_mlp, _rows),
}


def eager(name: str) -> nn.Module:
    """One of `ARCHITECTURES` before it is made TorchScript; always the same weights."""
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):  # what transformers has to say is not our subject
        return ARCHITECTURES[name].build().train()


def save_resnet18(folder: Path) -> Saved:
    """Saves a traced ResNet-18 with a batch of small images."""
    torch.manual_seed(0)
    model, images = ResNet18Images().train(), torch.randn(4, 3, 64, 64)
    with warnings.catch_warnings(action="ignore"):  # nor what tracing has to say
        traced = torch.jit.trace(model, (images,), check_trace=False)
    return _save(folder, traced, images, torch.randint(10, (4,)))


def save_traced(name: str, folder: Path, *, smoke: bool) -> Saved:
    """Saves one of `ARCHITECTURES`, traced, with a batch."""
    inputs, target = ARCHITECTURES[name].batch(smoke=smoke)
    with warnings.catch_warnings(action="ignore"):  # nor what tracing has to say
        traced = torch.jit.trace(eager(name), (inputs,), check_trace=False)
    return _save(folder, traced, inputs, target)


class ResidualBlock(nn.Module):
    """Five operations: ``[N, 8]`` to ``[N, 8]``."""

    def __init__(self) -> None:
        """Of width 8."""
        super().__init__()
        self.norm, self.up, self.act, self.down = nn.LayerNorm(8), nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of what comes in and what the block makes of it."""
        made: torch.Tensor = x + self.down(self.act(self.up(self.norm(x))))
        return made


def save_deep(folder: Path, *, operations: int) -> Saved:
    """Saves a scripted residual stack of about so many operations on next to no numbers."""
    torch.manual_seed(0)
    stack = nn.Sequential(*(ResidualBlock() for _ in range(operations // 5)), nn.Linear(8, 4))
    return _save(folder, torch.jit.script(stack), torch.randn(16, 8), torch.randint(4, (16,)))


def save_heavy(folder: Path, *, size_bytes: int) -> Saved:
    """Saves a scripted model with one parameter of so many bytes."""
    rows = size_bytes // 4 // MLP_WIDTH
    model = nn.Linear(MLP_WIDTH, rows, bias=False)
    return _save(folder, torch.jit.script(model), torch.randn(2, MLP_WIDTH), torch.randint(rows, (2,)))


def save_mlp(folder: Path) -> Saved:
    """Saves a scripted tiny MLP."""
    model = torch.jit.script(nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)))
    return _save(folder, model, torch.randn(32, 16), torch.randint(4, (32,)))


def _save(folder: Path, model: torch.jit.ScriptModule, inputs: torch.Tensor, target: torch.Tensor) -> Saved:
    folder.mkdir(parents=True, exist_ok=True)
    saved = Saved(folder / "model.pt", folder / "inputs.safetensors", folder / "target.safetensors")
    torch.jit.save(model, str(saved.model))
    save_file({"0": inputs}, saved.inputs)
    save_file({"target": target}, saved.target)
    return saved
