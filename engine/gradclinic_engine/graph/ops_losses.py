"""Operators that are loss functions: their names in torch.nn.functional and where their targets stand."""

from __future__ import annotations

from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.rows import rows

_TARGET = ("target",)

ROWS = (
    *(
        row
        for name in (
            *("nll_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "mse_loss", "l1_loss"),
            *("smooth_l1_loss", "huber_loss", "kl_div", "poisson_nll_loss", "hinge_embedding_loss"),
            *("multi_margin_loss", "multilabel_margin_loss", "soft_margin_loss"),
        )
        for row in rows(name, Kind.LOSS, loss=name, targets=_TARGET)
    ),
    *rows("cross_entropy_loss", Kind.LOSS, loss="cross_entropy", targets=_TARGET),
    *rows("nll_loss_nd nll_loss2d", Kind.LOSS, loss="nll_loss", targets=_TARGET),
    *rows("cosine_embedding_loss", Kind.LOSS, loss="cosine_embedding_loss", targets=("input2", "target")),
    *rows("margin_ranking_loss", Kind.LOSS, loss="margin_ranking_loss", targets=("input2", "target")),
    *rows("triplet_margin_loss", Kind.LOSS, loss="triplet_margin_loss", targets=("positive", "negative")),
    *rows("ctc_loss", Kind.LOSS, loss="ctc_loss", targets=("targets",)),
)
