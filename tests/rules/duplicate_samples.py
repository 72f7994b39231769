"""Runs in which `duplicate-samples` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_inputs import run_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_with(x={})
    yield run_with(x={"distinct_samples": 4, "distinct_values": 2, "features": 2}, distinct=4)  # the four cases of XOR


def sick() -> Iterator[Measurements]:
    yield run_with(x={"distinct_samples": 1, "constant_share": 1.0}, distinct=1)
    yield run_with(x={"distinct_samples": 8}, distinct=8)
