"""Tensors from safetensors files, and how they are described in errors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file

from gradclinic_engine.errors import AnalysisError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch


def read_tensors(path: str, *, device: torch.device, field: str) -> dict[str, torch.Tensor]:
    """Reads a safetensors file.

    Args:
        path: A readable file.
        device: Where the tensors go.
        field: The field of the request it came in, for errors.

    Raises:
        AnalysisError: BAD_INPUTS when it is no safetensors file.
    """
    try:
        return dict(load_file(path, device=str(device)))
    except (SafetensorError, ValueError, KeyError) as error:
        raise bad_inputs(
            field, f"this is no safetensors file ({error}). Write it with safetensors.torch.save_file."
        ) from error


def refuse_empty(tensors: Mapping[str, torch.Tensor], *, field: str) -> None:
    """Refuses a batch without samples.

    Raises:
        AnalysisError: BAD_INPUTS, naming the tensor.
    """
    for name, tensor in tensors.items():
        if tensor.dim() and tensor.shape[0] == 0:
            raise bad_inputs(
                field, f"`{name}` has shape {list(tensor.shape)}: a batch without samples. Send at least one."
            )


def describe(tensors: Mapping[str, torch.Tensor]) -> str:
    """Names, dtypes and shapes in a line, for error messages."""
    return ", ".join(
        f"`{name}` {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}" for name, tensor in tensors.items()
    )


def bad_inputs(field: str, what: str) -> AnalysisError:
    """The failure for what is wrong with a field that holds tensors."""
    return AnalysisError(FailureReason.BAD_INPUTS, f"{field}: {what}", field=re.sub(r"\W", "_", field))
