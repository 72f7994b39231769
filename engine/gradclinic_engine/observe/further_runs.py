"""What one run cannot show: the model run again with one sample changed, and with TorchScript's own executor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradclinic_engine.observe import executor_trial, sample_trial
from gradclinic_engine.request import Depth

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from gradclinic_engine.front_end import Loaded
    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.observe.observe_run import Subject

NOT_AT_THIS_DEPTH = "A quick diagnosis runs the model once; ask for depth `standard`."


@dataclass(frozen=True, slots=True)
class Sources:
    """How to get what an earlier run may have changed.

    Attributes:
        model: Loads the model afresh.
        inputs: Reads the inputs afresh, by name.
    """

    model: Callable[[], Loaded]
    inputs: Callable[[], dict[str, torch.Tensor]]


def extend(measurements: Measurements, subject: Subject, sources: Sources, depth: Depth) -> Measurements:
    """Adds what further runs show, where the depth allows them and the first run came through.

    Args:
        measurements: Of the first run.
        subject: What was run; its buffers are put back after each run.
        sources: Where the model and its inputs come from.
        depth: That was asked for.
    """
    if measurements.loss.error:
        return measurements
    if depth is Depth.QUICK:
        skipped = (("samples that mix", NOT_AT_THIS_DEPTH), ("the optimising executor", NOT_AT_THIS_DEPTH))
        return replace(measurements, unobserved=(*measurements.unobserved, *skipped))
    leak, leak_unseen = sample_trial.sample_leak(measurements, subject, sources.inputs)
    differences, executor_unseen = executor_trial.differences(measurements, subject, sources.model, sources.inputs)
    unseen = [("samples that mix", leak_unseen), ("the optimising executor", executor_unseen)]
    return replace(
        measurements,
        leak=leak,
        executor_differences=differences,
        unobserved=(*measurements.unobserved, *((what, why) for what, why in unseen if why)),
    )
