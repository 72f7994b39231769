"""Runs in which `target-mismatch` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_terms import run_of, term

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def healthy() -> Iterator[Measurements]:
    yield run_of(term("cross_entropy", 0))


def sick() -> Iterator[Measurements]:
    said = "expected target dtype to be Long or Byte, but got Float"
    yield run_of(term("cross_entropy", 0, target={"dtype": "float32"}, error=said), loss_error=said)
    said = "Target size (torch.Size([32])) must be the same as input size (torch.Size([32, 4]))"
    name = "binary_cross_entropy_with_logits"
    spread = {"shape": (32,), "min": 0.0, "max": 1.0}
    yield run_of(term(name, 0, target=spread, error=said), loss_error=said)
