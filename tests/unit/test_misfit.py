"""What is said when forward raises: whose fault it is, and what to do."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gradclinic_engine.errors import FailureReason
from gradclinic_engine.observe import misfit


def raised(model: nn.Module, inputs: torch.Tensor) -> str:
    with pytest.raises(RuntimeError) as caught:
        model(inputs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("model", "inputs"),
    [
        (nn.Linear(8, 3), torch.ones(4, 7)),
        (nn.Conv2d(3, 4, 3), torch.ones(2, 1, 8, 8)),
        (nn.Conv2d(3, 4, 3), torch.ones(8, 8)),
        (nn.LayerNorm(8), torch.ones(4, 7)),
        (nn.LSTM(8, 3), torch.ones(4, 2, 7)),
    ],
)
def test_a_wrong_shape_is_put_down_to_the_inputs(model: nn.Module, inputs: torch.Tensor) -> None:
    said = raised(model, inputs)
    error = misfit.forward_error(said, "", {"0": inputs}, model.parameters())
    assert (FailureReason.FORWARD_ERROR, "inputs") == (error.reason, error.field)
    assert said.rstrip(".") in error.message
    assert f"`0` float32{list(inputs.shape)}" in error.message


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.float16])
def test_a_wrong_dtype_names_the_right_one(dtype: torch.dtype) -> None:
    model, inputs = nn.Linear(8, 3), torch.ones(4, 8, dtype=dtype)
    error = misfit.forward_error(raised(model, inputs), "", {"x": inputs}, model.parameters())
    assert (FailureReason.BAD_INPUTS, "inputs") == (error.reason, error.field)
    assert error.message.endswith("The parameters are float32: send `x` as float32.")


def test_any_other_error_is_the_models_own() -> None:
    error = misfit.forward_error("the gate is closed", "trace", {"0": torch.ones(4, 8)}, [])
    assert (FailureReason.FORWARD_ERROR, "model", "trace") == (error.reason, error.field, error.trace)
    assert "The model raised: the gate is closed. It got `0` float32[4, 8]." == error.message
