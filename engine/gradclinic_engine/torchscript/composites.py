"""Activations that are written as several operations: softsign as torch itself does it, rectifiers by a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Formula, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.torchscript.dataflow import SiteDraft

SOFTSIGN, RECTIFIER = "aten::softsign", "aten::relu"


def acts_as(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """The operator that a site amounts to together with those before it; "" where it is just itself."""
    look = _LOOKS.get(_op(draft).formula)
    return look(drafts, draft) if look is not None else ""


def _of_division(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x / (1 + abs(x))``."""
    below = _site(drafts, draft, 1)
    if below is None or _op(below).formula is not Formula.ADD or below.constants.get("other") != 1:
        return ""
    size = _site(drafts, below, 0)
    is_softsign = size is not None and _op(size).formula is Formula.ABSOLUTE and _same(draft, 0, size, 0)
    return SOFTSIGN if is_softsign else ""


def _of_product(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x * (x > 0)``, in either order."""
    for value, mask in ((0, 1), (1, 0)):
        compared = _site(drafts, draft, mask)
        if compared is not None and _compares(drafts, compared, draft, value, Formula.ABOVE):
            return RECTIFIER
    return ""


def _of_choice(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``where(x > 0, x, 0)`` or ``where(x < 0, 0, x)``."""
    condition = _site(drafts, draft, 0)
    if condition is None:
        return ""
    for value, other, name, way in ((1, 2, "other", Formula.ABOVE), (2, 1, "self", Formula.BELOW)):
        if _compares(drafts, condition, draft, value, way) and _is_zero(drafts, draft, other, name):
            return RECTIFIER
    return ""


def _of_filling(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x.masked_fill(x < 0, 0)`` or ``x[x < 0] = 0``."""
    condition = _site(drafts, draft, 1)
    if condition is None or not _compares(drafts, condition, draft, 0, Formula.BELOW):
        return ""
    name = "values" if _op(draft).formula is Formula.SCATTER else "value"
    return RECTIFIER if _is_zero(drafts, draft, 2, name) else ""


def _of_larger(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``max(x, 0)``, in either order."""
    return RECTIFIER if any(_is_zero(drafts, draft, place, "other") for place in (0, 1)) else ""


_LOOKS: dict[Formula, Callable[[Sequence[SiteDraft], SiteDraft], str]] = {
    Formula.DIVIDE: _of_division,
    Formula.MULTIPLY: _of_product,
    Formula.CHOICE: _of_choice,
    Formula.FILL: _of_filling,
    Formula.SCATTER: _of_filling,
    Formula.LARGER: _of_larger,
}


def _op(draft: SiteDraft) -> Op:
    return ops.of(draft.node.kind())


def _compares(drafts: Sequence[SiteDraft], condition: SiteDraft, draft: SiteDraft, value: int, way: Formula) -> bool:
    """Whether a condition, also cast to a number, compares that argument of ``draft`` with zero in this way."""
    at: SiteDraft | None = condition
    if at is not None and _op(at).kind is Kind.CAST:
        at = _site(drafts, at, 0)
    return (
        at is not None
        and _op(at).formula is way
        and at.constants.get("other") == 0
        and not isinstance(at.constants.get("other"), bool)
        and _same(draft, value, at, 0)
    )


def _is_zero(drafts: Sequence[SiteDraft], draft: SiteDraft, position: int, name: str) -> bool:
    """Whether an argument is the number or a tensor of zeros."""
    if name in draft.constants:
        number = draft.constants[name]
        return isinstance(number, (int, float)) and number == 0
    made = _site(drafts, draft, position)
    # A trace writes `torch.tensor(0.0)` down as a constant behind such operators.
    while made is not None and (_op(made).keeps_all or _op(made).kind is Kind.EXPANSION):
        made = _site(drafts, made, 0)
    if made is None:
        return False
    if made.node.kind() == ops.CONSTANT and made.node.hasAttribute("value") and made.node.kindOf("value") == "t":
        return not made.node.t("value").count_nonzero()
    fill = _op(made).fill
    number = made.constants.get(fill) if isinstance(fill, str) else fill
    return isinstance(number, (int, float)) and number == 0


def _site(drafts: Sequence[SiteDraft], draft: SiteDraft, position: int) -> SiteDraft | None:
    """The one site that an argument holds."""
    held = list(draft.arguments[position]) if position < len(draft.arguments) else []
    return drafts[held[0]] if len(held) == 1 and held[0] >= 0 else None


def _same(one: SiteDraft, at_one: int, other: SiteDraft, at_other: int) -> bool:
    """Whether two arguments hold the same single value."""
    held = one.arguments[at_one] if at_one < len(one.arguments) else ()
    return len(held) == 1 and at_other < len(other.arguments) and held == other.arguments[at_other]
