"""Runs in which `constant-input` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_inputs import run_with

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_with(x={})
    yield run_with(x={"constant_share": 0.95, "constant_nonzero_share": 0.0, "distinct_values": 2})  # one-hot


def sick() -> Iterator[Measurements]:
    yield run_with(x={"constant_share": 1.0, "distinct_samples": 1}, y={})
    yield run_with(x={"constant_share": 0.9, "constant_nonzero_share": 0.9})
