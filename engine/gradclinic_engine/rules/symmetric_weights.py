"""The units of a layer are identical and receive identical gradients, so that they can never differ.

## What it means
Units with the same weights compute the same; where what follows treats them alike too, they get the same gradient, and
stay equal for ever. A layer of 512 such units is a layer of one.

## Why it happens
- weights initialised to a constant (`nn.init.constant_`, `ones_`, `fill_`) in two layers in a row;
- a row, filter or head that was tiled to fill a larger layer.

## How it is measured
For a sample of 64 units: the share that has a twin with exactly equal weights and an equal gradient (to 0.01 %) that is
not zero. CRITICAL when every unit has one, WARNING from half of them on. Only layers with another weight between them
and the loss count: the loss itself makes output units differ. Units that nothing reaches (pruned rows, unused embedding
rows) do not count, nor do twins that dropout or random noise makes differ. Where all weights are one number, the equal
gradients of a classifier's outputs cancel out before they get here: that counts, too, where the next layer treats all
units alike.

## Example
    for layer in net: nn.init.constant_(layer.weight, 0.1)

## What to do
Initialise with random numbers: `nn.init.kaiming_normal_`, `nn.init.xavier_uniform_`, or PyTorch's default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import share
from gradclinic_engine.reading.unit_copies import copies
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

MANY = 0.5
NEARLY_ALL = 0.99


def check(paths: Paths) -> Iterator[Finding]:
    """One finding for each layer of copies."""
    for parameter in paths.measurements.parameters:
        if len(parameter.shape) > 1 and parameter.requires_grad:
            found = copies(paths, parameter)
            if found is not None and found[1] >= MANY:
                yield _finding(parameter, *found)


def _finding(parameter: Parameter, site: Site, alike: float) -> Finding:
    everything = alike >= NEARLY_ALL
    return RULE.finding(
        severity=Severity.CRITICAL if everything else Severity.WARNING,
        location=Location(parameter=parameter.name, module=parameter.module, op=site.op, source=site.source),
        explanation=f"{share(alike)} of the units of {parameter.name} (shape {list(parameter.shape)}) have a twin "
        "with the same weights that gets the same gradient. They compute the same and are changed alike, for ever.",
        remedies=(
            f"Initialise it with random numbers: `nn.init.kaiming_normal_({parameter.name})`.",
            "If units were copied on purpose, add a little noise to the copies.",
        ),
        evidence=(Evidence("share_of_units_with_a_twin", alike, "1", MANY),),
        affected=(parameter.name,),
        sites=(site.index,),
    )


RULE = Rule("symmetric-weights", Symptom.ZERO_GRADIENT, __doc__, check)
