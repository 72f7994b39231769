"""What a zoo case is: a model with a batch, what a diagnosis must say of it, and how to see the fault without us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import nn

Form = Literal["script", "trace"]
Fault = Literal["none", "zero", "tiny", "huge", "non-finite", "untrainable", "raises", "told"]


@dataclass(frozen=True)
class Expected:
    """The finding that a faulty model must get.

    Attributes:
        code: The catalogue's code.
        module: Path of the module it must name, or alternatives.
        parameter: Parameter it must name.
        name: `input:NAME`, `target` or `loss`.
        op: Operator kind it must name.
        line: Text that stands in the source line it must name.
    """

    code: str
    module: str | tuple[str, ...] | None = None
    parameter: str | tuple[str, ...] | None = None
    name: str | None = None
    op: str | tuple[str, ...] | None = None
    line: str | None = None


@dataclass
class Built:
    """A model and its batch.

    Attributes:
        model: The eager module.
        inputs: Arguments of forward, in order.
        target: Target tensor, or tensors by argument name.
        loss: Name in torch.nn.functional, a loss module, `model`, or None for the random projection.
        options: Options of the loss.
        suffers: Parameters whose eager gradient shows the fault.
        output: Which output the loss gets: an index or a key.
        shown: Eager check of a fault that no gradient shows; also run, where given, beside the gradient.
    """

    model: nn.Module
    inputs: tuple[torch.Tensor, ...]
    target: torch.Tensor | Mapping[str, torch.Tensor] | None = None
    loss: str | nn.Module | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    suffers: tuple[str, ...] = ()
    output: str = ""
    shown: Callable[[], bool] | None = None


@dataclass(frozen=True)
class Case:
    """One model of the zoo in one form.

    Attributes:
        name: Unique, says what it is.
        form: Whether it is scripted or traced.
        build: Makes it, after seeding.
        expected: The finding it must get; None for a healthy one.
        fault: What the eager gradient of `Built.suffers` must be.
    """

    name: str
    form: Form
    build: Callable[[], Built]
    expected: Expected | None
    fault: Fault | None

    @property
    def family(self) -> str:
        """The file of zoo/cases it stands in."""
        return self.build.__module__.rpartition(".")[2]

    @property
    def held_out(self) -> bool:
        """Whether it was written without looking at what the rules catch."""
        return self.family.startswith("held_out")


CASES: list[Case] = []

Builder = Callable[[], Built]


def healthy(*forms: Form) -> Callable[[Builder], Builder]:
    """Registers a builder of a healthy model in the given forms (default: both)."""

    def register(build: Builder) -> Builder:
        CASES.extend(
            Case(f"{build.__name__}[{form}]", form, build, None, None) for form in forms or ("script", "trace")
        )
        return build

    return register


def faulty(expected: Expected, fault: Fault, *forms: Form) -> Callable[[Builder], Builder]:
    """Registers a builder of a faulty model in the given forms (default: both)."""

    def register(build: Builder) -> Builder:
        CASES.extend(
            Case(f"{build.__name__}[{form}]", form, build, expected, fault) for form in forms or ("script", "trace")
        )
        return build

    return register


def classes(count: int, batch: int) -> torch.Tensor:
    """Class indices that all occur, ``[batch]``."""
    return torch.arange(batch) % count
