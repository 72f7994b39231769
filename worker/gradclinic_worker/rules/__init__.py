"""The rules: one file per code of the findings catalogue, and this table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_worker import judgement
from gradclinic_worker.rules import (
    dead_relu,
    detached_graph,
    exploding_gradient,
    frozen_parameter,
    loss_disconnected,
    non_differentiable_op,
    non_finite_backward,
    non_finite_forward,
    non_finite_input,
    non_finite_parameter,
    saturated_activation,
    unused_parameter,
    vanishing_gradient,
    zero_derivative_op,
)

if TYPE_CHECKING:
    from gradclinic_worker.judgement import Judgement
    from gradclinic_worker.measurements import Measurements
    from gradclinic_worker.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    # no gradient
    detached_graph.RULE,
    non_differentiable_op.RULE,
    unused_parameter.RULE,
    frozen_parameter.RULE,
    loss_disconnected.RULE,
    # zero gradient
    zero_derivative_op.RULE,
    dead_relu.RULE,
    saturated_activation.RULE,
    # vanishing and exploding
    vanishing_gradient.RULE,
    exploding_gradient.RULE,
    # NaN and infinity
    non_finite_input.RULE,
    non_finite_parameter.RULE,
    non_finite_forward.RULE,
    non_finite_backward.RULE,
)


def judge(measurements: Measurements) -> Judgement:
    """Everything that the rules find in one run, worst first."""
    return judgement.judge(measurements, RULES)
