"""Runs in which `sample-leak` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import SampleLeak
from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(op: str, leak: SampleLeak | None) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::relu", run.op("aten::linear", "x", module="fc", weights=["fc.weight"]))
    mixed = run.op(op, layer)
    return run.finish(run.op("aten::linear", mixed, module="head", weights=["head.weight"]), leak=leak)


def healthy() -> Iterator[Measurements]:
    yield _run("aten::reshape", None)
    yield _run("aten::mean", SampleLeak(2, 0, (1, 2), 0.2, 2, is_sure=True))
    yield _run("aten::matmul", SampleLeak(2, 0, (1, 2), 0.2, 2, is_sure=True))  # attention over a set


def sick() -> Iterator[Measurements]:
    yield _run("aten::reshape", SampleLeak(2, 0, (1, 2), 0.9, 3, is_sure=True))
    yield _run("aten::lstm", SampleLeak(2, 0, (1, 2), 0.1, 3, is_sure=True))
    yield _run("aten::flatten", SampleLeak(3, 0, (1, 2), 0.1, 3, is_sure=True, reshape=2))
