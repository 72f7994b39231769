"""The loss functions of torch.nn.functional: what each one reads, and what it expects of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# Reduction as an operator's integer argument.
REDUCTIONS = ("none", "mean", "sum")
DEFAULT_IGNORED_CLASS = -100

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
# The target names one of two classes, as 0 and 1 or as -1 and 1.
OF_TWO_CLASSES = frozenset(
    {"binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss", "hinge_embedding_loss"}
)
# The target holds -1 and 1.
OF_SIGNS = frozenset({"hinge_embedding_loss", "soft_margin_loss", "cosine_embedding_loss", "margin_ranking_loss"})
# The target holds probabilities (of cross_entropy, where it has the shape of the prediction).
OF_SHARES = frozenset(
    {"binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss", "cross_entropy"}
)
# A target that is the same for all samples teaches them nothing.
OF_DIFFERENCES = (
    OF_CLASSES
    | REGRESSION
    | {
        *("binary_cross_entropy", "binary_cross_entropy_with_logits", "soft_margin_loss", "kl_div"),
        *("poisson_nll_loss", "gaussian_nll_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss"),
    }
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
