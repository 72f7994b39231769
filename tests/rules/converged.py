"""Runs in which `converged` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("mse_loss", 0))


def sick() -> Iterator[Measurements]:
    yield run_of(term("mse_loss", 0, residual_rms=1e-6), loss=1e-12)
