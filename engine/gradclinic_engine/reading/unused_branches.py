"""Parts of a model that compute what the loss does not use: those that hand it on to one another are one branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradclinic_engine.reading.paths import Paths

Part = tuple[str | None, tuple[str, ...]]


def branches(paths: Paths, parts: Sequence[Part]) -> list[Part]:
    """Joins parts one of which reads what another computes; a branch is called after its first part.

    Args:
        paths: Of the run.
        parts: Pairs of a module path (None for a single parameter) and its parameters.
    """
    readers = {parameter.name: parameter.read_by for parameter in paths.measurements.parameters}
    found: list[tuple[Part, set[int], set[int]]] = []
    for module, names in sorted(parts, key=lambda part: min((i for name in part[1] for i in readers[name]), default=0)):
        own = {index for name in names for index in readers[name] if index in paths.sites}
        reached = set(paths.downstream(*(paths.sites[index] for index in own)))
        for place, ((first, known), sites, after) in enumerate(found):
            if after & own:
                found[place] = ((first, (*known, *names)), sites | own, after | reached)
                break
        else:
            found.append(((module, names), own, reached))
    return [part for part, _, _ in found]
