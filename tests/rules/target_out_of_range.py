"""Runs in which `target-out-of-range` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import Culprit
from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0))
    yield run_of(term("binary_cross_entropy_with_logits", 0, target={"min": 0.0, "max": 1.0}))


def sick() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0, target={"max": 4.0, "highest": Culprit((7,), 4.0)}), loss_error="out")
    yield run_of(term("binary_cross_entropy_with_logits", 0, target={"lowest": Culprit((0, 0), -1.0)}))
