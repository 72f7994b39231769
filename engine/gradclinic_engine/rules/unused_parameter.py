"""A trainable parameter takes no part in the loss: forward does not read it, or nothing that counts uses the result.

## What it means
The parameter has no gradient (`grad is None`) and no operation cuts it off: there simply is no way from the
loss to it. An optimizer skips it, and `DistributedDataParallel` stops with "expected to have finished reduction".

## Why it happens
- a layer is made in `__init__` and forgotten in `forward`, or overwritten by a second one under another name;
- a branch of `forward` was not taken for these inputs;
- a head is computed, but the loss reads another output (a pooler, an auxiliary classifier).

## How it is measured
The data flow of the program is followed from each parameter to the loss. There is no threshold. Severity:
- CRITICAL: no operation reads it on these inputs: it cannot learn, whatever the loss;
- WARNING: operations read it, but the given loss does not use what they compute, and with the others of its kind it
  makes up at least a tenth of the trainable weights; INFO where it is less (an extra head, a pooler);
- INFO: its module is in eval mode and not read (what only training reads is not seen then), or the branch that
  reads it was not taken while a module of the same shape beside it learns (an expert that got no sample, a
  skipped block).

If no parameter at all reaches the loss, that is `loss-disconnected`; if a copy of it is read in its place,
`shadowed-parameter`.

## Example
    self.shortcut = nn.Linear(64, 64)   # in __init__; forward never calls it

## What to do
Use it, delete it, or freeze it with `requires_grad_(False)`; for an extra head, add its loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.reading.module_tree import whole_modules
from gradclinic_engine.reading.severed_paths import is_disconnected, without_way
from gradclinic_engine.reading.shadowed import shadowed
from gradclinic_engine.reading.twins import with_learning_twin
from gradclinic_engine.reading.unused_branches import branches
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements, Parameter
    from gradclinic_engine.reading.paths import Paths

# Of all trainable elements; idle heads and poolers of healthy models are below it.
LARGE_SHARE = 0.1
UNREAD, NOT_TAKEN, NOT_USED = (
    "is not read by forward",
    "is read only in a branch that did not run",
    "is not used by the loss",
)


def check(paths: Paths) -> Iterator[Finding]:
    """One for each module all of whose parameters are unused (or branch of such), and each single one beside those."""
    measurements = paths.measurements
    ran = {site.index for site in measurements.sites if site.calls}
    fates: dict[str, list[Parameter]] = {UNREAD: [], NOT_TAKEN: [], NOT_USED: []}
    copied = {found.parameter.name for found in shadowed(paths)}
    for parameter in without_way(paths):
        if parameter.name in copied:
            continue
        fates[UNREAD if not parameter.read_by else NOT_USED if ran & set(parameter.read_by) else NOT_TAKEN].append(
            parameter
        )
    if is_disconnected(paths):
        return
    twins = with_learning_twin(measurements)
    for fate, parameters in fates.items():
        parts = whole_modules(measurements, [parameter.name for parameter in parameters])
        for module, names in branches(paths, parts) if fate == NOT_USED else parts:
            yield _finding(measurements, fate, module, names, twins)


def _finding(
    measurements: Measurements, fate: str, module: str | None, names: tuple[str, ...], twins: frozenset[str]
) -> Finding:
    owner = names[0].rpartition(".")[0] if module is None else module
    location = Location(parameter=names[0], module=owner) if module is None else Location(module=module)
    return RULE.finding(
        severity=_severity(measurements, fate, owner, names, twins),
        location=location,
        explanation=f"{listed(names)} {fate if len(names) == 1 else fate.replace('is', 'are', 1)}, so no gradient "
        f"reaches {'it' if len(names) == 1 else 'them'} and the values stay as they were initialised.",
        remedies=(
            f"Use `{owner or names[0]}` in forward, or delete it."
            if fate != NOT_USED
            else "Add a loss for this output to the sum of losses, or delete the head.",
            "If it should stay unused, freeze it: `requires_grad_(False)`.",
        ),
        evidence=(Evidence("unused_parameters", len(names), "parameters", 0, text=fate),),
        affected=names,
    )


def _severity(
    measurements: Measurements, fate: str, module: str, names: tuple[str, ...], twins: frozenset[str]
) -> Severity:
    modes = {found.path: found.training for found in measurements.modules}
    if (fate == UNREAD and not modes.get(module, True)) or (fate == NOT_TAKEN and module in twins):
        return Severity.INFO
    if fate != NOT_USED:
        return Severity.CRITICAL
    trainable = sum(parameter.weight.element_count for parameter in measurements.parameters if parameter.requires_grad)
    idle = sum(parameter.weight.element_count for parameter in measurements.parameters if parameter.name in names)
    return Severity.WARNING if idle >= LARGE_SHARE * trainable else Severity.INFO


RULE = Rule("unused-parameter", Symptom.NO_GRADIENT, __doc__, check)
