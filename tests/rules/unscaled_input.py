"""Runs in which `unscaled-input` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_inputs import run_with
from rules.tiny_run import statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_with(x={}, seen=statistics(2.5))
    yield run_with(x={"offset": 2.0}, seen=statistics(0.6))


def sick() -> Iterator[Measurements]:
    yield run_with(x={}, seen=statistics(147.0), layer={"activation": statistics(85.0)})
    yield run_with(x={"offset": 100.0}, seen=statistics(5.0))
    yield run_with(x={}, seen=statistics(1e-5))
