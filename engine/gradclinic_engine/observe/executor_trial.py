"""Runs a model with TorchScript's default, optimising executor and compares its gradients with the plain ones."""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.errors import AnalysisError
from gradclinic_engine.measurements import ExecutorDifference, GradientStatus
from gradclinic_engine.observe import executor_alike, randomness, statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradclinic_engine.front_end import Loaded
    from gradclinic_engine.measurements import Measurements, Parameter
    from gradclinic_engine.observe.observe_run import Subject

# The executor looks on at first, and optimises from the second run on; its backward graph one later.
RUNS = 3
# What is that far below the model's other gradients is rounding, and zero as good as that.
ROUNDING = 1e-5


def differences(
    measurements: Measurements,
    subject: Subject,
    load: Callable[[], Loaded],
    read_inputs: Callable[[], Mapping[str, torch.Tensor]],
) -> tuple[tuple[ExecutorDifference, ...], str]:
    """Parameters whose gradient is NaN or zero (or missing) with one of the executors only.

    Returns:
        The differences, and why there was nothing to compare, or "".
    """
    if not subject.program.facts.has_optimising_executor:
        return (), ""
    if not measurements.loss.requires_grad or not math.isfinite(measurements.loss.value):
        return (), ""
    if measurements.loss.backward_error or executor_alike.cannot_differ(measurements, subject):
        return (), ""
    raises: tuple[type[Exception], ...] = (*subject.program.raises, AnalysisError)
    try:
        gradients = optimised_gradients(subject, load(), read_inputs)
    except raises as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[-1]
        return (), f"The model raised there: {first}"
    is_random = bool(randomness.random_operations(measurements))
    sizes = [p.gradient.rms for p in measurements.parameters if p.gradient and p.status is GradientStatus.FLOWING]
    usual = median(sizes) if sizes else 0.0
    found = []
    for parameter in measurements.parameters:
        status, rms = gradients.get(parameter.name, (GradientStatus.MISSING, 0.0))
        if parameter.requires_grad and _differ(parameter, status, rms, usual, is_random=is_random):
            found.append(ExecutorDifference(parameter.name, parameter.status, status))
    return tuple(found), ""


def _differ(parameter: Parameter, status: GradientStatus, rms: float, usual: float, *, is_random: bool) -> bool:
    if parameter.status is status:
        return False
    if GradientStatus.NON_FINITE in (parameter.status, status):
        return True
    size = max(rms, parameter.gradient.rms if parameter.gradient else 0.0)
    return not is_random and size > ROUNDING * usual


def optimised_gradients(
    subject: Subject, module: Loaded, read_inputs: Callable[[], Mapping[str, torch.Tensor]]
) -> dict[str, tuple[GradientStatus, float]]:
    """Status and RMS of each parameter's gradient."""
    buffers = [(buffer, buffer.detach().clone()) for buffer in module.buffers.values()]
    for _ in range(RUNS):
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        for parameter in module.parameters.values():
            parameter.grad = None
        randomness.seed(subject.seed)
        loss = subject.criterion(module(*module.bind(read_inputs()).values()))
        if not loss.requires_grad:
            return {}
        loss.backward()
    found = {}
    for name, parameter in module.parameters.items():
        if parameter.grad is not None:
            found[name] = _status(parameter.grad)
            parameter.grad = None
    return found


def _status(gradient: torch.Tensor) -> tuple[GradientStatus, float]:
    dense = gradient.to_dense() if gradient.layout is not torch.strided else gradient
    count, nonfinite, _, _, squares, low, high = statistics.measure(dense)
    if nonfinite:
        return GradientStatus.NON_FINITE, math.nan
    is_flowing = bool(low or high) and count
    return (GradientStatus.FLOWING, math.sqrt(squares / count)) if is_flowing else (GradientStatus.ZERO, 0.0)
