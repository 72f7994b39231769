"""Activations that are written as several operations: softsign as torch itself does it, rectifiers by a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import CONSTANT, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradclinic_engine.torchscript.dataflow import SiteDraft

SOFTSIGN, RECTIFIER = "aten::softsign", "aten::relu"
_DIVISIONS = frozenset({"aten::div", "aten::true_divide", "aten::divide"})
_CASTS = frozenset({"aten::to", "aten::type_as", "aten::float", "aten::double", "aten::half", "aten::bfloat16"})
# So a trace writes down `torch.tensor(0.0)`.
_HANDING_ON = _CASTS | {"aten::lift_fresh", "aten::detach", "aten::expand", "aten::expand_as"}
_ZEROS = frozenset({"aten::zeros_like", "aten::zeros", "aten::new_zeros"})
_FILLED = {"aten::tensor": "t", "aten::scalar_tensor": "s", "aten::full_like": "fill_value", "aten::full": "fill_value"}
_ABOVE_ZERO, _BELOW_ZERO = frozenset({"aten::gt", "aten::ge"}), frozenset({"aten::lt", "aten::le"})


def acts_as(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """The operator that a site amounts to together with those before it; "" where it stands for itself."""
    look = _LOOKS.get(plain(draft.node.kind()))
    return look(drafts, draft) if look is not None else ""


def _of_division(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x / (1 + abs(x))``."""
    below = _site(drafts, draft, 1)
    if below is None or plain(below.node.kind()) != "aten::add" or below.constants.get("other") != 1:
        return ""
    size = _site(drafts, below, 0)
    is_softsign = size is not None and plain(size.node.kind()) == "aten::abs" and _same(draft, 0, size, 0)
    return SOFTSIGN if is_softsign else ""


def _of_product(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x * (x > 0)``, in either order."""
    for value, mask in ((0, 1), (1, 0)):
        compared = _site(drafts, draft, mask)
        if compared is not None and _compares(drafts, compared, draft, value, _ABOVE_ZERO):
            return RECTIFIER
    return ""


def _of_choice(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``where(x > 0, x, 0)`` or ``where(x < 0, 0, x)``."""
    condition = _site(drafts, draft, 0)
    if condition is None:
        return ""
    for value, other, name, ops in ((1, 2, "other", _ABOVE_ZERO), (2, 1, "self", _BELOW_ZERO)):
        if _compares(drafts, condition, draft, value, ops) and _is_zero(drafts, draft, other, name):
            return RECTIFIER
    return ""


def _of_filling(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``x.masked_fill(x < 0, 0)`` or ``x[x < 0] = 0``."""
    condition = _site(drafts, draft, 1)
    if condition is None or not _compares(drafts, condition, draft, 0, _BELOW_ZERO):
        return ""
    name = "values" if "index_put" in draft.node.kind() else "value"
    return RECTIFIER if _is_zero(drafts, draft, 2, name) else ""


def _of_larger(drafts: Sequence[SiteDraft], draft: SiteDraft) -> str:
    """``max(x, 0)``, in either order."""
    return RECTIFIER if any(_is_zero(drafts, draft, place, "other") for place in (0, 1)) else ""


_LOOKS: dict[str, Callable[[Sequence[SiteDraft], SiteDraft], str]] = {
    **dict.fromkeys(_DIVISIONS, _of_division),
    **dict.fromkeys(("aten::mul", "aten::multiply"), _of_product),
    "aten::where": _of_choice,
    **dict.fromkeys(("aten::masked_fill", "aten::index_put"), _of_filling),
    **dict.fromkeys(("aten::max", "aten::maximum", "aten::fmax"), _of_larger),
}


def _compares(
    drafts: Sequence[SiteDraft], condition: SiteDraft, draft: SiteDraft, value: int, ops: frozenset[str]
) -> bool:
    """Whether a condition, also cast to a number, compares that argument of ``draft`` with zero in this way."""
    at: SiteDraft | None = condition
    if at is not None and plain(at.node.kind()) in _CASTS:
        at = _site(drafts, at, 0)
    return (
        at is not None
        and at.node.kind() in ops
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
    while made is not None and made.node.kind() in _HANDING_ON:
        made = _site(drafts, made, 0)
    if made is None:
        return False
    if made.node.kind() == CONSTANT and made.node.hasAttribute("value") and made.node.kindOf("value") == "t":
        return not made.node.t("value").count_nonzero()
    filled = made.constants.get(_FILLED.get(plain(made.node.kind()), ""))
    return plain(made.node.kind()) in _ZEROS or (isinstance(filled, (int, float)) and filled == 0)


def _site(drafts: Sequence[SiteDraft], draft: SiteDraft, position: int) -> SiteDraft | None:
    """The one site that an argument holds."""
    held = list(draft.arguments[position]) if position < len(draft.arguments) else []
    return drafts[held[0]] if len(held) == 1 and held[0] >= 0 else None


def _same(one: SiteDraft, at_one: int, other: SiteDraft, at_other: int) -> bool:
    """Whether two arguments hold the same single value."""
    held = one.arguments[at_one] if at_one < len(one.arguments) else ()
    return len(held) == 1 and at_other < len(other.arguments) and held == other.arguments[at_other]
