"""Which modules a set of parameters makes up, and what several modules have in common."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradclinic_engine.measurements import Measurements


def whole_modules(measurements: Measurements, names: Sequence[str]) -> list[tuple[str | None, tuple[str, ...]]]:
    """Groups parameters by the largest modules that own no others.

    Returns:
        Pairs of a module path and its parameters; the path is None for a parameter whose module has others too.
    """
    every = Counter(module for parameter in measurements.parameters for module in _ancestors(parameter.name))
    wanted = Counter(module for name in set(names) for module in _ancestors(name))
    groups: dict[str, list[str]] = {}
    single: list[tuple[str | None, tuple[str, ...]]] = []
    for name in names:
        for module in _ancestors(name):
            if wanted[module] == every[module] and (every[module] > 1 or module == name.rpartition(".")[0] != ""):
                groups.setdefault(module, []).append(name)
                break
        else:
            single.append((None, (name,)))
    return [(module, tuple(found)) for module, found in groups.items()] + single


def common_module(paths: Iterable[str]) -> str:
    """The innermost module that holds all of ``paths``."""
    split = [path.split(".") if path else [] for path in paths]
    shared: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _ancestors(name: str) -> list[str]:
    parts = name.split(".")[:-1]
    return [".".join(parts[:depth]) for depth in range(len(parts) + 1)]
