"""What is run, and what one run leaves behind."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from gradclinic_engine.errors import RaisedError
    from gradclinic_engine.front_end import Program
    from gradclinic_engine.observe.criterion import Criterion
    from gradclinic_engine.observe.loss_calls import LossCall
    from gradclinic_engine.observe.observe_recorder import Recorder
    from gradclinic_engine.observe.statistics import Gauge


@dataclass(slots=True)
class Run:
    """What one run left behind.

    Attributes:
        loss: Value of the loss, NaN where there is none.
        gradients: Statistics of each parameter's gradient by its name.
        twins: As `unit_twins.twin_shares` has it, for parameters that have units with equal weights.
        outputs: The sites that the loss reads.
        call: What the request's loss was called with, where torch knows it by name.
        raised: What forward or the loss raised; then there is no loss.
    """

    recorder: Recorder
    lasting: dict[int, Gauge]
    targets: dict[str, Gauge]
    loss: float = math.nan
    loss_requires_grad: bool = False
    backward_error: str = ""
    gradients: dict[str, Gauge] = field(default_factory=dict)
    twins: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()
    call: LossCall | None = None
    raised: RaisedError | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is run.

    Attributes:
        program: Instrumented.
        arguments: Of forward.
        inputs: The tensors among them by name.
        criterion: The loss.
        seed: Of every random number generator.
    """

    program: Program
    arguments: tuple[object, ...]
    inputs: dict[str, torch.Tensor]
    criterion: Criterion
    seed: int
