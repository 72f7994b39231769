"""Checks with plain eager PyTorch, and nothing of ours, that a fault is real and that a healthy model learns."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from zoo.case import Built, Case

# A gradient this many times smaller (larger) than the model's largest (smallest) layer is negligible (dominates).
SCALE_GAP = 1e4
LEARNING_STEPS = 30


def loss_of(built: Built, model: torch.nn.Module | None = None) -> torch.Tensor:
    """The loss of a built case, computed eagerly."""
    output = (model or built.model)(*built.inputs)
    if built.loss == "model":
        chosen = output
        return chosen if isinstance(chosen, torch.Tensor) else chosen["loss"] if isinstance(chosen, dict) else chosen[0]
    if built.output and isinstance(output, dict):
        output = output[built.output]
    elif isinstance(output, (tuple, list)):
        floating = [each for each in output if isinstance(each, torch.Tensor) and each.is_floating_point()]
        output = output[int(built.output)] if built.output else floating[0]
    elif isinstance(output, dict):
        output = next(each for each in output.values() if each.is_floating_point())
    if built.loss is None:
        generator = torch.Generator().manual_seed(7)
        direction = torch.randn(output.shape, generator=generator)
        return (output * direction).sum() / math.sqrt(output.numel())
    if isinstance(built.loss, torch.nn.Module):
        chosen = built.loss(output, built.target)
        return chosen if isinstance(chosen, torch.Tensor) else chosen[0]
    target = dict(built.target) if isinstance(built.target, Mapping) else {"target": built.target}
    function = getattr(functional, built.loss)
    first = {"ctc_loss": "log_probs", "cosine_embedding_loss": "input1", "triplet_margin_loss": "anchor"}
    result: torch.Tensor = function(**{first.get(built.loss, "input"): output}, **target, **built.options)
    return result


def gradients(built: Built) -> dict[str, torch.Tensor | None]:
    """Eager gradients by parameter name."""
    built.model.zero_grad(set_to_none=True)
    loss = loss_of(built)
    if loss.requires_grad:
        loss.backward()
    return {name: parameter.grad for name, parameter in built.model.named_parameters()}


def fault_is_real(case: Case, built: Built) -> str:
    """Empty if the eager gradient shows the case's fault, else what it shows instead."""
    if built.shown is not None and not built.shown():
        return "its own eager check does not show the fault"
    if case.fault == "told":
        return ""
    if case.fault == "raises":
        return "" if _raises(built) else "nothing raises"
    if case.fault == "untrainable":
        trainable = [name for name, each in built.model.named_parameters() if each.requires_grad]
        return f"{trainable} are trainable" if trainable else ""
    found = gradients(built)
    suffering = {name: found[name] for name in built.suffers}
    if not suffering:
        return "the case names no suffering parameter"
    wrong = [name for name, gradient in suffering.items() if not _shows(case.fault, gradient, found)]
    return f"the gradient of {wrong} is not {case.fault}" if wrong else ""


def _raises(built: Built) -> bool:
    try:
        gradients(built)
    except (RuntimeError, ValueError, IndexError, TypeError):
        return True
    return False


def _shows(fault: str | None, gradient: torch.Tensor | None, every: dict[str, torch.Tensor | None]) -> bool:
    if fault == "none":
        return gradient is None
    if gradient is None:
        return False
    if fault == "zero":
        return not bool(gradient.count_nonzero())
    if fault == "non-finite":
        return not bool(gradient.isfinite().all())
    sizes = [float(each.norm()) / math.sqrt(each.numel()) for each in every.values() if each is not None]
    size = float(gradient.norm()) / math.sqrt(gradient.numel())
    if fault == "tiny":
        return size * SCALE_GAP < max(sizes)
    return size > SCALE_GAP * min(sizes)


def learns(built: Built) -> str:
    """Empty if some optimizer steps lower the loss of a copy, else what happened instead."""
    model = copy.deepcopy(built.model)
    trainable = [each for each in model.parameters() if each.requires_grad]
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(trainable, lr=1e-3)
    losses = []
    for _ in range(LEARNING_STEPS):
        optimizer.zero_grad()
        loss = loss_of(built, model)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    first, last = sum(losses[:3]) / 3, sum(losses[-3:]) / 3
    return "" if last < first else f"the loss went from {first:.4g} to {last:.4g}"
