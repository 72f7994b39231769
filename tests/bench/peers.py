"""What one would write without gradclinic: eager hooks that record the same statistics, at each module."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

Records = list[tuple[str, list[float]]]


def statistics(tensor: torch.Tensor) -> list[float]:
    """Elements, non-finite ones, zeros, mean, RMS, smallest and largest, and a histogram by powers of two."""
    values = tensor.detach().float()
    finite = values[torch.isfinite(values)]
    exponents = torch.frexp(finite.reshape(-1)[:: max(1, finite.numel() // 1024)])[1]
    low, high = finite.aminmax()
    return [
        *(values.numel(), values.numel() - finite.numel(), (values == 0).sum().item()),
        *(finite.mean().item(), finite.square().mean().sqrt().item(), low.item(), high.item()),
        *torch.bincount(exponents - exponents.min()).tolist(),
    ]


@contextmanager
def recording(model: nn.Module) -> Iterator[Records]:
    """Records every module's outputs, their gradients, and every parameter and its gradient, while it is open."""
    records: Records = []

    def on_gradient(name: str, gradient: torch.Tensor) -> None:
        records.append((f"{name} gradient", statistics(gradient)))

    def on_output(name: str, _module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            records.append((name, statistics(output)))
            if output.requires_grad:
                output.register_hook(partial(on_gradient, name))

    def on_parameter(name: str, parameter: torch.Tensor) -> None:
        if parameter.grad is not None:
            records.append((f"{name} gradient", statistics(parameter.grad)))

    handles = [
        module.register_forward_hook(partial(on_output, name), with_kwargs=False)
        for name, module in model.named_modules()
    ]
    for name, parameter in model.named_parameters():
        records.append((name, statistics(parameter)))
        handles.append(parameter.register_post_accumulate_grad_hook(partial(on_parameter, name)))
    try:
        yield records
    finally:
        for handle in handles:
            handle.remove()
