"""What the engine is asked for: the files of one diagnosis, its loss and how deep to look."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Depth(enum.StrEnum):
    """How much is run."""

    QUICK = "QUICK"  # one forward and backward pass
    STANDARD = "STANDARD"  # further runs, where what was found can be told apart only so
    THOROUGH = "THOROUGH"  # so far as much as STANDARD


class Stage(enum.StrEnum):
    """What a diagnosis is doing."""

    LOAD = "LOAD"
    PREPARE = "PREPARE"
    FORWARD = "FORWARD"
    BACKWARD = "BACKWARD"
    JUDGE = "JUDGE"


@dataclass(frozen=True, slots=True)
class LossRequest:
    """The loss that is asked for.

    Attributes:
        kind: `functional`, `module`, `model` or `random_projection`.
        name: Of a function of torch.nn.functional.
        options: Its keyword options that are plain values.
        module: Readable path of the loss module's archive.
        tensors: Readable path of the keyword options that are tensors (safetensors).
    """

    kind: str = "random_projection"
    name: str = ""
    options: Mapping[str, object] = field(default_factory=dict)
    module: str | None = None
    tensors: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One diagnosis.

    Attributes:
        model: Readable path of the archive.
        inputs: Readable path of the sample batch (safetensors).
        target: Readable path of the target, if any (safetensors).
        loss: The loss.
        output: Which output of the model the loss gets: an index or dotted name; "" is the only floating tensor.
        depth: How much is run.
        seed: Of every random number generator.
        optimizer: Name of the torch.optim class that trains the model, in lower case; "": not known.
    """

    model: str
    inputs: str
    target: str | None = None
    loss: LossRequest = field(default_factory=LossRequest)
    output: str = ""
    depth: Depth = Depth.STANDARD
    seed: int = 0
    optimizer: str = ""
