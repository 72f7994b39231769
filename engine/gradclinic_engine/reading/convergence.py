"""Whether the loss says that the model already predicts its targets, so that small gradients are as they should be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements

# A loss below this share of what a constant guess would get counts as reached.
REACHED_SHARE = 0.05


def has_converged(measurements: Measurements) -> bool:
    """Whether the loss is a small share of what a model that knows nothing of its inputs would get."""
    guess = loss_of_a_guess(measurements)
    return guess is not None and 0 <= measurements.loss.value <= REACHED_SHARE * guess


def loss_of_a_guess(measurements: Measurements) -> float | None:
    """The mean loss of the best constant (or uniform) prediction; None where that is not known."""
    loss = measurements.loss
    if loss.options.get("reduction", "mean") != "mean" or not measurements.target:
        return None
    target = measurements.target[0].statistics
    variance = max(target.rms**2 - target.mean**2, 0.0)
    match loss.name:
        case "cross_entropy" | "nll_loss":
            shapes = [site.shape for site in measurements.sites if site.index in loss.outputs]
            classes = (shapes[0][1] if len(shapes[0]) > 1 else shapes[0][0]) if shapes and shapes[0] else 0
            return math.log(classes) if classes > 1 else None
        case "binary_cross_entropy" | "binary_cross_entropy_with_logits":
            return math.log(2)
        case "mse_loss" | "huber_loss" | "smooth_l1_loss":
            return variance
        case "l1_loss":
            return math.sqrt(variance)
        case _:
            return None
