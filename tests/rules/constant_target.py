"""Runs in which `constant-target` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0))
    one = {"shape": (1,), "min": 2.0, "max": 2.0, "counts": ((2, 1),)}
    yield run_of(term("cross_entropy", 0, target=one))
    yield run_of(term("margin_ranking_loss", 0, target={"min": 1.0, "max": 1.0, "samples_alike": True}))


def sick() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0, target={"min": 2.0, "max": 2.0, "counts": ((2, 32),)}))
    yield run_of(term("mse_loss", 0, target={"samples_alike": True}))
