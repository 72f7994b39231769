"""Parts of a model that are built alike: target networks, experts, repeated blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import GradientStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.measurements import Measurements, Parameter

FOLLOWER_NAMES = ("target", "teacher", "ema", "momentum")


def is_copy_to_follow(measurements: Measurements, names: Sequence[str]) -> bool:
    """Whether these parameters are a target network: built like a part that learns, and a copy of it or named so."""
    by_name = {parameter.name: parameter for parameter in measurements.parameters}
    cut = [by_name[name] for name in names]
    learning = [parameter for parameter in measurements.parameters if parameter.status is GradientStatus.FLOWING]
    if not all(any(_alike(one, other) for other in learning) for one in cut):
        return False
    words = {word for name in names for part in name.lower().split(".")[:-1] for word in part.split("_")}
    return bool(words & set(FOLLOWER_NAMES)) or all(any(_equal(one, other) for other in learning) for one in cut)


def has_learning_twin(measurements: Measurements, module: str) -> bool:
    """Whether a module beside ``module``, with parameters of the same names and shapes, gets a gradient."""
    parent = module.rpartition(".")[0]
    own = _signature(measurements, module)
    siblings = {
        found.path
        for found in measurements.modules
        if found.path != module and found.path.rpartition(".")[0] == parent and found.path
    }
    return bool(own) and any(
        _signature(measurements, sibling) == own
        and any(
            parameter.status is GradientStatus.FLOWING
            for parameter in measurements.parameters
            if parameter.name.startswith(f"{sibling}.")
        )
        for sibling in siblings
    )


def _signature(measurements: Measurements, module: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    prefix = f"{module}."
    return tuple(
        (parameter.name.removeprefix(prefix), parameter.shape)
        for parameter in measurements.parameters
        if parameter.name.startswith(prefix)
    )


def _alike(one: Parameter, other: Parameter) -> bool:
    return one.shape == other.shape and one.name.rpartition(".")[2] == other.name.rpartition(".")[2]


def _equal(one: Parameter, other: Parameter) -> bool:
    ours, theirs = one.weight, other.weight
    return _alike(one, other) and (ours.mean, ours.rms, ours.min, ours.max) == (
        theirs.mean,
        theirs.rms,
        theirs.min,
        theirs.max,
    )
