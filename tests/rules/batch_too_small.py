"""Runs in which `batch-too-small` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(shape: tuple[int, ...], *, training: bool = True) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    norm = run.op("aten::batch_norm", layer, module="norm", shape=shape, constants={"training": training})
    return run.finish(run.op("aten::linear", norm, module="head", weights=["head.weight"]))


def healthy() -> Iterator[Measurements]:
    yield _run((8, 12))
    yield _run((1, 12, 7, 7))
    yield _run((1, 12), training=False)


def sick() -> Iterator[Measurements]:
    yield _run((2, 12))
    yield _run((3, 12, 1, 1))
    run = TinyRun()
    layer = run.op("aten::linear", "x", module="fc", weights=["fc.weight"])
    run.op("aten::batch_norm", layer, module="norm", calls=0)
    yield run.finish(loss=float("nan"), loss_error="ValueError: Expected more than 1 value per channel when training")
