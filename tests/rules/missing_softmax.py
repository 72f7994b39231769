"""Runs in which `missing-softmax` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("nll_loss", 0, prediction={"max": -0.1, "log_probability_dims": (1,)}))
    yield run_of(term("binary_cross_entropy", 0, prediction={"min": 0.1, "max": 0.9}, target={"min": 0.0}))


def sick() -> Iterator[Measurements]:
    yield run_of(term("nll_loss", 0))
    said = "all elements of input should be between 0 and 1"
    yield run_of(term("binary_cross_entropy", 0, target={"min": 0.0}, error=said), loss_error=said)
