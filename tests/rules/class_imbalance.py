"""Runs in which `class-imbalance` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0))
    pixels = {"shape": (4, 16, 16), "counts": ((0, 1010), (1, 14)), "max": 1.0}
    yield run_of(term("cross_entropy", 0, prediction={"shape": (4, 2, 16, 16)}, target=pixels))


def sick() -> Iterator[Measurements]:
    rare = {"shape": (128, 1), "counts": ((0, 127), (1, 1)), "min": 0.0, "max": 1.0}
    yield run_of(term("binary_cross_entropy_with_logits", 0, prediction={"shape": (128, 1)}, target=rare))
