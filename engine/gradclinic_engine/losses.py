"""The functional losses that a request may name, with the arguments each one takes."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class OptionKind(enum.Enum):
    """What a plain keyword option may be."""

    BOOL = "true or false"
    INT = "an integer of 64 bits"
    FLOAT = "a number"
    REDUCTION = "'mean' or 'sum'"  # 'none' gives no scalar, so there is no gradient to look at
    BATCH_REDUCTION = "'mean', 'sum' or 'batchmean'"


_INTEGERS = range(-(2**63), 2**63)
_REDUCTIONS = {
    OptionKind.REDUCTION: ("mean", "sum"),
    OptionKind.BATCH_REDUCTION: ("mean", "sum", "batchmean"),
}


@dataclass(frozen=True, slots=True)
class FunctionalLossSignature:
    """How ``torch.nn.functional.<name>`` is called."""

    name: str
    output: str  # the argument that gets the model's output
    target: tuple[str, ...]  # the arguments that come from the request's target tensors, in order
    options: Mapping[str, OptionKind] = field(default_factory=dict)  # plain keyword options
    tensor_options: tuple[str, ...] = ()  # tensor-valued keyword options

    def option_problem(self, name: str, value: object) -> str | None:
        """Says what is wrong with a plain option as a request carries it (numbers may be floats); None if it fits."""
        kind = self.options.get(name)
        if name in self.tensor_options:
            return f"{self.name}'s option {name!r} is a tensor: send it among the tensor options"
        if kind is None:
            known = ", ".join([*self.options, *self.tensor_options]) or "none"
            return f"{self.name} has no option {name!r}; its options are: {known}"
        if _fits(kind, value):
            return None
        return f"{self.name}'s option {name!r} must be {kind.value}, got {value!r}"

    def tensor_option_problem(self, name: str) -> str | None:
        """Says what is wrong with the name of a tensor-valued option; None if the loss has it."""
        if name in self.tensor_options:
            return None
        known = ", ".join(self.tensor_options) or "none"
        return f"{self.name} has no tensor option {name!r}; its tensor options are: {known}"

    def target_problem(self, names: Iterable[str]) -> str | None:
        """Says what is wrong with the names of the target's tensors; None if they are the loss's target arguments."""
        given = set(names)
        wanted = set(self.target)
        if given == wanted:
            return None
        expected = ", ".join(self.target)
        got = ", ".join(sorted(given)) or "nothing"
        return f"{self.name} needs the target tensors: {expected}; got: {got}"

    def arguments(self, options: Mapping[str, object]) -> dict[str, bool | int | float | str]:
        """Turns checked plain options into the keyword arguments of the torch function.

        Raises:
            ValueError: an option does not exist or has the wrong type.
        """
        arguments: dict[str, bool | int | float | str] = {}
        for name, value in options.items():
            if (problem := self.option_problem(name, value)) is not None:
                raise ValueError(problem)
            if isinstance(value, (bool, str)):
                arguments[name] = value
            elif isinstance(value, (int, float)):
                arguments[name] = int(value) if self.options[name] is OptionKind.INT else float(value)
        return arguments


def _fits(kind: OptionKind, value: object) -> bool:
    if kind is OptionKind.BOOL:
        return isinstance(value, bool)
    if kind in _REDUCTIONS:
        return value in _REDUCTIONS[kind]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return kind is OptionKind.FLOAT or (float(value).is_integer() and int(value) in _INTEGERS)


_TARGET = ("target",)
_B, _I, _F = OptionKind.BOOL, OptionKind.INT, OptionKind.FLOAT


def _signature(
    name: str,
    target: tuple[str, ...] = _TARGET,
    *,
    output: str = "input",
    tensors: tuple[str, ...] = (),
    **options: OptionKind,
) -> FunctionalLossSignature:
    every = MappingProxyType({"reduction": OptionKind.REDUCTION, **options})
    return FunctionalLossSignature(name, output, target, every, tensors)


_WEIGHT = ("weight",)

# Arguments as in torch.nn.functional, without the long deprecated `size_average` and `reduce`.
_SIGNATURES = (
    _signature("binary_cross_entropy", tensors=_WEIGHT),
    _signature("binary_cross_entropy_with_logits", tensors=("weight", "pos_weight")),
    _signature("cosine_embedding_loss", ("input2", "target"), output="input1", margin=_F),
    _signature("cross_entropy", tensors=_WEIGHT, ignore_index=_I, label_smoothing=_F),
    _signature(
        "ctc_loss", ("targets", "input_lengths", "target_lengths"), output="log_probs", blank=_I, zero_infinity=_B
    ),
    _signature("gaussian_nll_loss", ("target", "var"), full=_B, eps=_F),
    _signature("hinge_embedding_loss", margin=_F),
    _signature("huber_loss", tensors=_WEIGHT, delta=_F),
    _signature("kl_div", log_target=_B, reduction=OptionKind.BATCH_REDUCTION),
    _signature("l1_loss", tensors=_WEIGHT),
    _signature("margin_ranking_loss", ("input2", "target"), output="input1", margin=_F),
    _signature("mse_loss", tensors=_WEIGHT),
    _signature("multi_margin_loss", tensors=_WEIGHT, p=_I, margin=_F),
    _signature("multilabel_margin_loss"),
    _signature("multilabel_soft_margin_loss", tensors=_WEIGHT),
    _signature("nll_loss", tensors=_WEIGHT, ignore_index=_I),
    _signature("poisson_nll_loss", log_input=_B, full=_B, eps=_F),
    _signature("smooth_l1_loss", beta=_F),
    _signature("soft_margin_loss"),
    _signature("triplet_margin_loss", ("positive", "negative"), output="anchor", margin=_F, p=_F, eps=_F, swap=_B),
)

FUNCTIONAL_LOSSES: Mapping[str, FunctionalLossSignature] = MappingProxyType({s.name: s for s in _SIGNATURES})
