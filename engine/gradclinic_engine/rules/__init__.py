"""The rules: one file per code of the findings catalogue, and this table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.judging import judgement
from gradclinic_engine.records import Severity
from gradclinic_engine.rules import (
    batch_too_small,
    clamp_saturation,
    class_imbalance,
    constant_input,
    constant_target,
    converged,
    dead_relu,
    degenerate_normalization,
    detached_graph,
    double_softmax,
    duplicate_samples,
    excessive_dropout,
    executor_dependent,
    exploding_gradient,
    flat_loss,
    frozen_normalization,
    frozen_parameter,
    gradient_underflow,
    ill_conditioned_op,
    inference_trace,
    linear_collapse,
    loss_disconnected,
    missing_softmax,
    non_differentiable_op,
    non_finite_backward,
    non_finite_forward,
    non_finite_input,
    non_finite_parameter,
    output_activation_mismatch,
    overflow_low_precision,
    overwritten_value,
    poor_initialization,
    sample_leak,
    saturated_activation,
    saturated_softmax,
    shadowed_parameter,
    shape_broadcast,
    softmax_dimension,
    symmetric_weights,
    target_mismatch,
    target_out_of_range,
    unbounded_loss,
    unscaled_input,
    unused_parameter,
    vanishing_gradient,
    zero_derivative_op,
    zero_input,
    zero_multiplier,
    zero_weights,
)

if TYPE_CHECKING:
    from gradclinic_engine.judging.judgement import Judgement
    from gradclinic_engine.judging.rule import Rule
    from gradclinic_engine.measurements import Measurements

RULES: tuple[Rule, ...] = (
    # no gradient
    detached_graph.RULE,
    non_differentiable_op.RULE,
    unused_parameter.RULE,
    overwritten_value.RULE,
    shadowed_parameter.RULE,
    frozen_parameter.RULE,
    loss_disconnected.RULE,
    # zero gradient
    zero_derivative_op.RULE,
    dead_relu.RULE,
    saturated_activation.RULE,
    clamp_saturation.RULE,
    saturated_softmax.RULE,
    symmetric_weights.RULE,
    zero_weights.RULE,
    zero_input.RULE,
    zero_multiplier.RULE,
    degenerate_normalization.RULE,
    # vanishing and exploding
    vanishing_gradient.RULE,
    exploding_gradient.RULE,
    poor_initialization.RULE,
    gradient_underflow.RULE,
    ill_conditioned_op.RULE,
    # NaN and infinity
    non_finite_input.RULE,
    non_finite_parameter.RULE,
    non_finite_forward.RULE,
    overflow_low_precision.RULE,
    non_finite_backward.RULE,
    # mode and structure
    frozen_normalization.RULE,
    batch_too_small.RULE,
    excessive_dropout.RULE,
    linear_collapse.RULE,
    sample_leak.RULE,
    executor_dependent.RULE,
    inference_trace.RULE,
    # loss and target
    double_softmax.RULE,
    missing_softmax.RULE,
    softmax_dimension.RULE,
    shape_broadcast.RULE,
    target_out_of_range.RULE,
    target_mismatch.RULE,
    constant_target.RULE,
    class_imbalance.RULE,
    output_activation_mismatch.RULE,
    flat_loss.RULE,
    converged.RULE,
    unbounded_loss.RULE,
    # inputs
    unscaled_input.RULE,
    constant_input.RULE,
    duplicate_samples.RULE,
)

CODES = frozenset(rule.code for rule in RULES)
MAX_FINDINGS = len(CODES) * len(Severity) * judgement.MAX_ALIKE
"""No judgement has more."""


def judge(measurements: Measurements) -> Judgement:
    """Everything that the rules find in one run, worst first."""
    return judgement.judge(measurements, RULES)
