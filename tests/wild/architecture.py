"""What a wild architecture is: a case of the zoo of which nothing is expected but an answer."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from zoo.case import Built, Case

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from zoo.case import Form

CLASSES = 5
ARCHITECTURES: list[Case] = []


def architecture(name: str, build: Callable[[], Built], form: Form = "script") -> None:
    """Registers what `build` makes; scripted, unless it cannot be."""
    ARCHITECTURES.append(Case(name, form, build, None, None))


@functools.cache
def architectures() -> dict[str, Case]:
    """All of them, each under the name of its package and its own."""
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if not module.name.endswith("_models"):
            continue
        known = len(ARCHITECTURES)
        importlib.import_module(f"wild.{module.name}")
        for case in ARCHITECTURES[known:]:
            name = f"{module.name.removesuffix('_models')}.{case.name}"
            if name in found:
                raise ValueError(f"two architectures are called {name}")
            found[name] = case
    return found


def classifier(
    name: str,
    make: Callable[[], nn.Module],
    *inputs: Callable[[], torch.Tensor],
    form: Form = "script",
    output: str = "",
) -> None:
    """Registers a model that scores five classes; its labels are those in turn."""

    def build() -> Built:
        model, batch = make().train(), tuple(each() for each in inputs)
        return Built(model, batch, torch.arange(len(batch[0])) % CLASSES, "cross_entropy", output=output)

    architecture(name, build, form)


def segmenter(
    name: str, make: Callable[[], nn.Module], image: Callable[[], torch.Tensor], form: Form = "script", output: str = ""
) -> None:
    """Registers a model that scores two classes for each place of an image: whether that is bright."""

    def build() -> Built:
        model, batch = make().train(), image()
        return Built(model, (batch,), (batch[:, 0] > 0).long(), "cross_entropy", output=output)

    architecture(name, build, form)


def projected(
    name: str,
    make: Callable[[], nn.Module],
    *inputs: Callable[[], torch.Tensor],
    form: Form = "script",
    output: str = "",
) -> None:
    """Registers any other model; its loss is a random projection."""
    architecture(name, lambda: Built(make().train(), tuple(each() for each in inputs), output=output), form)


def noise(*shape: int) -> Callable[[], torch.Tensor]:
    """What makes random numbers of a shape, the batch first."""
    return lambda: torch.randn(shape)
