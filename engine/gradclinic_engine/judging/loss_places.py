"""Where a finding about a loss or its target points to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.reading.loss_reading import name_of_target
from gradclinic_engine.records import Location

if TYPE_CHECKING:
    from gradclinic_engine.measurements import LossTerm, Measurements, Target
    from gradclinic_engine.reading.paths import Paths


def place(measurements: Measurements, term: LossTerm) -> Location:
    """`loss`, with the operator where the loss is part of the model."""
    return _within(measurements, term, "loss")


def place_of_target(paths: Paths, term: LossTerm, target: Target) -> Location:
    """`target`, or the input of the model that it comes from."""
    return _within(paths.measurements, term, name_of_target(paths, target))


def _within(measurements: Measurements, term: LossTerm, name: str) -> Location:
    site = next((site for site in measurements.sites if site.index == term.site), None)
    if site is None:
        return Location(name=name)
    return Location(module=site.module, name=name, op=site.op, source=site.source)
