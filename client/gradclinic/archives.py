"""What a caller hands in as a model or a loss, on its way to an archive."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gradclinic.errors import BadCall
from gradclinic.tensors import is_numbers
from gradclinic_engine.errors import ConversionError

if TYPE_CHECKING:
    import torch


def is_module(value: object) -> bool:
    """Whether a value is an nn.Module (a ScriptModule is one); never imports torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def archive_model(model: torch.nn.Module, inputs: object) -> tuple[memoryview, list[str]]:
    """Scripts a module, else traces it with ``inputs``; the module is left as it was.

    Returns:
        The archive's bytes, and sentences that the caller should know.

    Raises:
        BadCall: it can be neither scripted nor traced; says why.
    """
    from gradclinic_engine.torchscript import conversion  # noqa: PLC0415 - needs torch, which the caller has imported

    try:
        return conversion.archive_model(model, lambda: _example(inputs))
    except ConversionError as error:
        raise BadCall(str(error)) from error


def archive_loss(loss: torch.nn.Module) -> memoryview:
    """Scripts a loss module, forward(output, target) -> scalar.

    Raises:
        BadCall: it cannot be scripted; says why.
    """
    from gradclinic_engine.torchscript import conversion  # noqa: PLC0415 - needs torch, which the caller has imported

    try:
        return conversion.archive_loss(loss)
    except ConversionError as error:
        raise BadCall(str(error)) from error


def _example(inputs: object) -> tuple[tuple[Any, ...], dict[str, Any] | None]:
    """The inputs as torch.jit.trace takes them: positional ones, or keywords.

    Raises:
        TypeError: they are a file; or torch makes no tensor of them.
    """
    if isinstance(inputs, (str, os.PathLike)):
        raise TypeError("a file; pass tensors to have the model traced")
    if isinstance(inputs, Mapping):
        return (), {str(key): _live(value) for key, value in inputs.items()}
    if isinstance(inputs, (list, tuple)) and not (isinstance(inputs, list) and is_numbers(inputs)):
        return tuple(_live(value) for value in inputs), None
    return (_live(inputs),), None


def _live(value: Any) -> Any:
    """The value with tensors where there were arrays or numbers."""
    import torch  # noqa: PLC0415 - the caller has imported it

    if isinstance(value, Mapping):
        return {key: _live(item) for key, item in value.items()}
    if isinstance(value, tuple) or (isinstance(value, list) and not is_numbers(value)):
        return type(value)(_live(item) for item in value)
    return value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
