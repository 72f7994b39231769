"""Parts of a model that are built alike: target networks, experts, repeated blocks."""

from __future__ import annotations

from collections import defaultdict
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


def with_learning_twin(measurements: Measurements) -> frozenset[str]:
    """Modules beside which another one, with parameters of the same names and shapes, gets a gradient."""
    built: defaultdict[str, list[tuple[str, tuple[int, ...]]]] = defaultdict(list)
    learning = set()
    for parameter in measurements.parameters:
        parts = parameter.name.split(".")
        for depth in range(1, len(parts)):
            module = ".".join(parts[:depth])
            built[module].append((".".join(parts[depth:]), parameter.shape))
            if parameter.status is GradientStatus.FLOWING:
                learning.add(module)
    learning &= {found.path for found in measurements.modules}
    alike: defaultdict[object, set[str]] = defaultdict(set)
    for module, signature in built.items():
        alike[module.rpartition(".")[0], tuple(signature)].add(module)
    return frozenset(
        module for twins in alike.values() if (learners := twins & learning) for module in twins if learners != {module}
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
