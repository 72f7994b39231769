"""Tells what forward raised, and whether it comes from inputs that do not fit the model."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradclinic_engine import tensors
from gradclinic_engine.errors import AnalysisError, FailureReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import torch

# How torch words it, in the operators that meet inputs first.
_OF_DTYPE = re.compile(r"\bdtype\b|scalar type", re.IGNORECASE)
_OF_SHAPE = re.compile(
    r"cannot be multiplied|size mismatch|sizes? of tensors?|must match the size|channels|normalized_shape"
    r"|expected .*(?:\dD|dimension)|invalid for input of size|must be equal to input_size",
    re.IGNORECASE,
)


def forward_error(
    said: str, trace: str, inputs: Mapping[str, torch.Tensor], parameters: Iterable[torch.Tensor]
) -> AnalysisError:
    """The failure for what forward raised.

    Args:
        said: The error's own words.
        trace: The TorchScript trace, or "".
        inputs: What forward got, by name.
        parameters: Of the model.
    """
    message = f"The model raised: {said.rstrip('.')}. It got {tensors.describe(inputs)}."
    if _OF_DTYPE.search(said):
        expected = sorted({_dtype(each) for each in parameters if each.is_floating_point()})
        others = [name for name, tensor in inputs.items() if _dtype(tensor) not in expected]
        if expected and others:
            hint = f"The parameters are {' and '.join(expected)}: send `{others[0]}` as {expected[0]}."
            return AnalysisError(FailureReason.BAD_INPUTS, f"{message} {hint}", field="inputs", trace=trace)
    if _OF_SHAPE.search(said):
        hint = "Send inputs of the shape that the model was made for, batch first where it wants that."
        return AnalysisError(FailureReason.FORWARD_ERROR, f"{message} {hint}", field="inputs", trace=trace)
    return AnalysisError(FailureReason.FORWARD_ERROR, message, field="model", trace=trace)


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
