"""Parameters have `requires_grad=False`: harmless when some are frozen, fatal when all are.

## What it means
A frozen parameter gets no gradient and never changes. With a frozen backbone that is intended (INFO). When every
parameter of the model is frozen there is nothing left to train (CRITICAL).

## Why it happens
- `requires_grad_(False)` on the whole model, meant for a part of it, or not undone after a warm-up;
- a model that was loaded or exported for inference, `torch.inference_mode`, quantisation;
- fine-tuning code that freezes by name and matches more names than it should.

## How it is measured
`requires_grad` of each parameter as stored in the archive. There is no threshold. A single INFO finding stands
at the module that holds the frozen parameters, or at each of a few.

## Example
    for parameter in model.parameters():
        parameter.requires_grad_(False)      # and the head was meant to stay trainable

## What to do
Nothing, if it is intended. Else `model.head.requires_grad_(True)` before the optimizer is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging.rule import Rule
from gradclinic_engine.judging.wording import listed
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.reading.module_tree import common_module, whole_modules
from gradclinic_engine.records import Evidence, Finding, Location, Severity, Symptom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.reading.paths import Paths

# More frozen places than this (adapters between frozen weights) are told as one.
PLACES_TOLD_APART = 4


def check(paths: Paths) -> Iterator[Finding]:
    """INFO for each frozen module or parameter, or one CRITICAL finding when all are frozen."""
    measurements = paths.measurements
    frozen = tuple(p.name for p in measurements.parameters if p.status is GradientStatus.FROZEN)
    if not frozen:
        return
    if len(frozen) == len(measurements.parameters):
        yield _finding(measurements, Severity.CRITICAL, Location(module=""), frozen)
        return
    places = whole_modules(measurements, frozen)
    if len(places) > PLACES_TOLD_APART:
        modules = [names[0].rpartition(".")[0] if module is None else module for module, names in places]
        places = [(common_module(modules), frozen)]
    for module, names in places:
        location = (
            Location(module=module)
            if module is not None
            else Location(parameter=names[0], module=names[0].rpartition(".")[0])
        )
        yield _finding(measurements, Severity.INFO, location, names)


def _finding(measurements: Measurements, severity: Severity, location: Location, names: tuple[str, ...]) -> Finding:
    everything = severity is Severity.CRITICAL
    explanation = (
        f"All {len(names)} parameters have requires_grad=False: there is nothing to train."
        if everything
        else f"{listed(names)} {'has' if len(names) == 1 else 'have'} requires_grad=False and will not change. "
        "That is fine if it is intended."
    )
    return RULE.finding(
        severity=severity,
        location=location,
        explanation=explanation,
        remedies=(
            "Unfreeze what is to be trained before the optimizer is made: `module.requires_grad_(True)`.",
            "If the archive was exported for inference, export the training model instead.",
        )
        if everything
        else ("If it is not intended: `requires_grad_(True)` before the optimizer is made.",),
        evidence=(Evidence("frozen_share", len(names) / len(measurements.parameters), "1", 1.0),),
        affected=names,
    )


RULE = Rule("frozen-parameter", Symptom.NO_GRADIENT, __doc__, check)
