"""Runs in which `inference-trace` must find nothing above INFO (healthy) or something (sick)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.measurements import SourceLine
from rules.tiny_run import TinyRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements


def _run(*, root_in_eval: bool = True, traced: bool = True) -> Measurements:
    run = TinyRun()
    layer = run.op("aten::conv2d", "x", module="conv", weights=["conv.weight"])
    buffers = (run.buffer("norm.running_mean"), run.buffer("norm.running_var"))
    norm = run.op("aten::batch_norm", layer, module="norm", buffers=buffers, constants={"training": False})
    head = run.op("aten::linear", norm, module="head", weights=["head.weight"])
    for site in (layer, norm, head):
        run.amend(site, source=SourceLine("model.py", 10 + site, "" if traced else "x = self.norm(x)"))
    run.evaluation_mode("norm", *([""] if root_in_eval else []))
    return run.finish(head)


def healthy() -> Iterator[Measurements]:
    yield _run(root_in_eval=False)  # frozen on purpose
    yield _run(traced=False)  # a script can be switched


def sick() -> Iterator[Measurements]:
    yield _run()
    run = TinyRun()
    yield run.finish(run.op("aten::linear", "x", run.op("prim::Constant")))
