"""When TorchScript's optimising executor cannot give another answer than the plain one: then it need not be tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Statistics
    from gradclinic_engine.observe.observe_run import Subject

EXACT_TYPES = frozenset({"float32", "float64", "int64", "int32", "bool"})
# Products of two such numbers, and sums of them over the largest tensors, are far from overflowing in float32.
LARGEST = 1e12


def cannot_differ(measurements: Measurements, subject: Subject) -> bool:
    """Whether both executors must find the same gradients zero, finite or missing.

    Args:
        measurements: Of the run with the plain executor.
        subject: What was run.
    """
    if measurements.loss.kind not in {"functional", "random_projection"}:  # others are TorchScript themselves
        return False
    if not subject.program.facts.executors_agree:
        return False
    if any(tensor.device.type != "cpu" for tensor in subject.inputs.values()):  # elsewhere it writes kernels of its own
        return False
    sites, parameters = measurements.sites, measurements.parameters
    tensors = (*measurements.inputs, *measurements.buffers)
    types = {each.dtype for each in sites} | {each.dtype for each in parameters} | {each.dtype for each in tensors}
    seen = (
        *(numbers for each in sites for numbers in (each.activation, each.gradient)),
        *(numbers for each in parameters for numbers in (each.weight, each.gradient)),
        *(each.statistics for each in tensors),
    )
    return (
        types <= EXACT_TYPES and abs(measurements.loss.value) < LARGEST and all(_is_tame(numbers) for numbers in seen)
    )


def _is_tame(numbers: Statistics | None) -> bool:
    """Whether all are finite and none is large."""
    if numbers is None:
        return True
    return not numbers.nonfinite_count and not max(abs(numbers.min), abs(numbers.max)) > LARGEST
