"""The optimizers of torch.optim that a request may name, with the settings each one takes."""

from __future__ import annotations

import enum
import math
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Mapping


class SettingKind(enum.Enum):
    """What a setting may be."""

    FLAG = "true, false or null"
    RATE = "a number, 0 or more"
    NUMBER = "a number"
    NUMBERS = "a list of numbers"
    COUNT = "an integer or null"
    TEXT = "a text or null"


_COMMON = ("lr", "weight_decay", "foreach", "maximize")
_BUILT_IN = (*_COMMON, "differentiable", "capturable")  # what most classes take
_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "adadelta": (*_BUILT_IN, "rho", "eps"),
    "adafactor": (*_COMMON, "beta2_decay", "eps", "d"),
    "adagrad": (*_COMMON, "differentiable", "lr_decay", "initial_accumulator_value", "eps", "fused"),
    "adam": (*_BUILT_IN, "betas", "eps", "amsgrad", "fused", "decoupled_weight_decay"),
    "adamax": (*_BUILT_IN, "betas", "eps"),
    "adamw": (*_BUILT_IN, "betas", "eps", "amsgrad", "fused"),
    "asgd": (*_BUILT_IN, "lambd", "alpha", "t0"),
    "lbfgs": ("lr", "max_iter", "max_eval", "tolerance_grad", "tolerance_change", "history_size", "line_search_fn"),
    "muon": ("lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"),
    "nadam": (*_BUILT_IN, "betas", "eps", "momentum_decay", "decoupled_weight_decay"),
    "radam": (*_BUILT_IN, "betas", "eps", "decoupled_weight_decay"),
    "rmsprop": (*_BUILT_IN, "alpha", "eps", "momentum", "centered"),
    "rprop": ("lr", "foreach", "maximize", "differentiable", "capturable", "etas", "step_sizes"),
    "sgd": (*_COMMON, "differentiable", "momentum", "dampening", "nesterov", "fused"),
    "sparseadam": ("lr", "betas", "eps", "maximize"),
}
_KINDS = {
    SettingKind.FLAG: (
        *("foreach", "maximize", "differentiable", "capturable", "fused"),
        *("amsgrad", "decoupled_weight_decay", "centered", "nesterov"),
    ),
    SettingKind.RATE: ("lr",),
    SettingKind.NUMBERS: ("betas", "etas", "step_sizes", "ns_coefficients"),
    SettingKind.COUNT: ("max_iter", "max_eval", "history_size", "ns_steps"),
    SettingKind.TEXT: ("line_search_fn", "adjust_lr_fn"),
}
_KIND_OF = {name: kind for kind, names in _KINDS.items() for name in names}


def _kind(optimizer: str, name: str) -> SettingKind:
    if (optimizer, name) == ("adafactor", "eps"):  # the only name that is not of one kind everywhere
        return SettingKind.NUMBERS
    return _KIND_OF.get(name, SettingKind.NUMBER)


OPTIMIZERS: Mapping[str, Mapping[str, SettingKind]] = MappingProxyType(
    {optimizer: {name: _kind(optimizer, name) for name in names} for optimizer, names in _SETTINGS.items()}
)
"""Settings by the name of the torch.optim class in lower case."""


def setting_problem(optimizer: str, name: str, value: object) -> str | None:
    """Says what is wrong with a setting as a request carries it (numbers may be floats); None if it fits."""
    settings = OPTIMIZERS[optimizer]
    kind = settings.get(name)
    if kind is None:
        return f"{optimizer} has no setting {name!r}; its settings are: {', '.join(settings)}"
    return None if _fits(kind, value) else f"{optimizer}'s setting {name!r} must be {kind.value}, got {value!r}"


def _fits(kind: SettingKind, value: object) -> bool:
    match kind:
        case SettingKind.FLAG:
            return value is None or isinstance(value, bool)
        case SettingKind.TEXT:
            return value is None or isinstance(value, str)
        case SettingKind.COUNT:
            return value is None or (_is_number(value) and float(value).is_integer())
        case SettingKind.NUMBERS:
            return isinstance(value, (list, tuple)) and all(item is None or _is_number(item) for item in value)
        case SettingKind.RATE:
            return _is_number(value) and value >= 0
        case SettingKind.NUMBER:
            return _is_number(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
