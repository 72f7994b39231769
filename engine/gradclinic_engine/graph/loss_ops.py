"""The losses that torch knows as one operator: what each one reads, and what it expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Reduction as an operator's integer argument.
REDUCTIONS = ("none", "mean", "sum")
DEFAULT_IGNORED_CLASS = -100


@dataclass(frozen=True, slots=True)
class LossOp:
    """How an operator that is a loss is called.

    Attributes:
        name: In torch.nn.functional.
        targets: Names of its target arguments; they stand at positions 1, 2, ...
    """

    name: str
    targets: tuple[str, ...] = ("target",)


LOSS_OPS: Mapping[str, LossOp] = {
    **{
        f"aten::{name}": LossOp(name)
        for name in (
            *("nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss"),
            *("smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "hinge_embedding_loss"),
            *("multi_margin_loss", "multilabel_margin_loss", "soft_margin_loss"),
        )
    },
    "aten::cross_entropy_loss": LossOp("cross_entropy"),
    "aten::nll_loss_nd": LossOp("nll_loss"),
    "aten::nll_loss2d": LossOp("nll_loss"),
    "aten::cosine_embedding_loss": LossOp("cosine_embedding_loss", ("input2", "target")),
    "aten::margin_ranking_loss": LossOp("margin_ranking_loss", ("input2", "target")),
    "aten::triplet_margin_loss": LossOp("triplet_margin_loss", ("positive", "negative")),
    "aten::ctc_loss": LossOp("ctc_loss", ("targets",)),
}

# They compare prediction and target element by element.
ELEMENTWISE = frozenset(
    {
        *("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "gaussian_nll_loss"),
        *("binary_cross_entropy", "binary_cross_entropy_with_logits", "hinge_embedding_loss", "soft_margin_loss"),
    }
)
REGRESSION = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
# The target holds class indices (cross_entropy also takes probabilities).
OF_CLASSES = frozenset({"cross_entropy", "nll_loss", "multi_margin_loss"})
# They expect logarithms of probabilities.
OF_LOG_PROBABILITIES = frozenset({"nll_loss", "kl_div", "ctc_loss"})
# They apply softmax or sigmoid themselves.
OF_LOGITS = frozenset(
    {"cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "soft_margin_loss"}
)
# They are exactly flat beyond a margin.
WITH_MARGIN = frozenset(
    {
        *("hinge_embedding_loss", "margin_ranking_loss", "multi_margin_loss", "multilabel_margin_loss"),
        *("triplet_margin_loss", "cosine_embedding_loss"),
    }
)


def loss_options(constants: Mapping[str, object]) -> dict[str, object]:
    """An operator's constant arguments as the options of the function in torch.nn.functional."""
    reduction = constants.get("reduction")
    named = {"reduction": REDUCTIONS[reduction]} if isinstance(reduction, int) else {}
    return {**constants, **named}


def class_dimension(name: str, dimensions: int) -> int:
    """Which dimension of the prediction counts classes."""
    if name == "ctc_loss":
        return dimensions - 1
    return 1 if dimensions > 1 else 0
