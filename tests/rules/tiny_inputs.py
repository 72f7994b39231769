"""Runs on inputs of known variation, written by hand, for the healthy and sick cases of the rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradclinic_engine.measurements import Measurements, Statistics, Tensor, Variation
from rules.tiny_run import TinyRun, statistics

SAMPLES, FEATURES = 32, 12


def run_with(
    distinct: int = SAMPLES,
    seen: Statistics | None = None,
    layer: dict[str, Any] | None = None,
    **inputs: dict[str, Any],
) -> Measurements:
    """A tanh layer on these inputs, each given by what is special about its variation; ``seen`` of the first one."""
    run = TinyRun()
    weight = run.parameter("fc.weight", shape=(8, FEATURES), weight=statistics(0.17))
    value = run.op("aten::linear", *inputs, module="fc", weights=[weight], shape=(SAMPLES, 8), **layer or {})
    output = run.op("aten::tanh", value, module="act", shape=(SAMPLES, 8))
    healthy = Variation(SAMPLES, FEATURES, SAMPLES, 0.0, 0.0, 0.0, 65, 0.1)
    tensors = tuple(
        Tensor(name, (SAMPLES, FEATURES), "float32", seen or statistics(), variation=replace(healthy, **known))
        for name, known in inputs.items()
    )
    return run.finish(output, inputs=tensors, seen_samples=SAMPLES, distinct_samples=distinct)
