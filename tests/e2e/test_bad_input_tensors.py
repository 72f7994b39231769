"""Inputs, targets and losses that do not fit: each gets an error or a finding of its own."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gradclinic import BadCall, Client, DiagnosisFailed, InvalidRequest

pytestmark = pytest.mark.usefixtures("next_job_runs")


def failure(client: Client, model: nn.Module, inputs: object, **options: object) -> DiagnosisFailed:
    with pytest.raises(DiagnosisFailed) as caught:
        client.diagnose(model, inputs, wait=30, **options)  # type: ignore[arg-type]  # tests pass what does not fit
    return caught.value


def test_too_many_inputs(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    failed = failure(client, torch.jit.script(mlp), (inputs, inputs))
    assert ("BAD_INPUTS", "inputs") == (failed.reason, failed.field)
    assert "forward takes 1 argument" in failed.message


def test_too_few_inputs(client: Client) -> None:
    failed = failure(client, nn.Bilinear(4, 4, 2), torch.ones(8, 4))
    assert ("BAD_INPUTS", "inputs") == (failed.reason, failed.field)
    assert "`input2` is missing" in failed.message


def test_an_input_of_the_wrong_shape(client: Client, mlp: nn.Module) -> None:
    failed = failure(client, torch.jit.script(mlp), torch.randn(32, 7))
    assert ("FORWARD_ERROR", "inputs") == (failed.reason, failed.field)
    assert "(32x7 and 8x16)" in failed.message
    assert "It got `0` float32[32, 7]" in failed.message


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64])
def test_an_input_of_the_wrong_dtype(client: Client, mlp: nn.Module, dtype: torch.dtype) -> None:
    failed = failure(client, torch.jit.script(mlp), torch.ones(32, 8, dtype=dtype))
    assert ("BAD_INPUTS", "inputs") == (failed.reason, failed.field)
    assert "The parameters are float32: send `0` as float32." in failed.message


def test_a_target_of_the_wrong_length_is_a_finding(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    target = torch.zeros(31, dtype=torch.int64)
    diagnosis = client.diagnose(mlp, inputs, target=target, loss="cross_entropy", wait=30)
    (finding,) = [finding for finding in diagnosis.findings if finding.severity != "INFO"]
    assert ("target-mismatch", "target") == (finding.code, finding.location.name)
    assert "[31]" in finding.explanation


def test_a_target_by_an_unknown_name(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    with pytest.raises(BadCall, match="target"):
        client.diagnose(mlp, inputs, target={"labels": torch.zeros(32)}, loss="cross_entropy")


def test_a_loss_without_its_target(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.diagnose(mlp, inputs, loss="cross_entropy")
    assert ["spec.target_sha256"] == [violation.field for violation in caught.value.violations]


def test_an_unknown_loss(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.diagnose(mlp, inputs, target=target, loss="cros_entropy")
    assert ["spec.loss.functional.name"] == [violation.field for violation in caught.value.violations]
    assert "did you mean cross_entropy" in str(caught.value)


def test_a_target_that_nothing_uses(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    with pytest.raises(BadCall, match="target: is not used without a loss"):
        client.diagnose(mlp, inputs, target=target)
    with pytest.raises(BadCall, match="target: the loss 'model' takes none"):
        client.diagnose(mlp, inputs, target=target, loss="model")


def test_an_unknown_setting_of_an_optimizer(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    with pytest.raises(BadCall, match="sgd has no setting 'betas'"):
        client.diagnose(mlp, inputs, optimizer={"name": "sgd", "betas": [0.9, 0.99]})


def test_what_changes_nothing_yet_is_noted(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    diagnosis = client.diagnose(mlp, inputs, depth="thorough", optimizer="sgd", wait=30)
    noted = [note for note in diagnosis.notes if note.startswith("Not tried: ")]
    assert ["the training probe", "judgements that depend on the optimizer (sgd)"] == [
        note.removeprefix("Not tried: ").partition(".")[0] for note in noted
    ]


def test_an_unknown_option(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    with pytest.raises(BadCall, match="temperature"):
        client.diagnose(mlp, inputs, target=target, loss="cross_entropy", loss_options={"temperature": 2.0})


def test_a_loss_option_that_gives_no_scalar(
    client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor
) -> None:
    with pytest.raises(BadCall, match="'reduction' must be 'mean' or 'sum'"):
        client.diagnose(mlp, inputs, target=target, loss="cross_entropy", loss_options={"reduction": "none"})


class PerSample(nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).square().mean(dim=1)


def test_a_loss_that_is_no_scalar(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    failed = failure(client, mlp, inputs, target=torch.zeros(32, 3), loss=PerSample())
    assert ("LOSS_ERROR", "loss") == (failed.reason, failed.field)
    assert "[32]" in failed.message
    assert "take its mean or its sum" in failed.message


def test_a_model_that_returns_no_scalar_as_its_loss(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    failed = failure(client, mlp, inputs, loss="model")
    assert ("LOSS_ERROR", "loss") == (failed.reason, failed.field)
    assert "[32, 3]" in failed.message


def test_no_samples(client: Client, mlp: nn.Module) -> None:
    failed = failure(client, torch.jit.script(mlp), torch.zeros(0, 8))
    assert ("BAD_INPUTS", "inputs") == (failed.reason, failed.field)
    assert "[0, 8]" in failed.message


def test_nan_in_an_input_is_a_finding(
    client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor
) -> None:
    poisoned = inputs.clone()
    poisoned[5, 2] = math.nan
    diagnosis = client.diagnose(mlp, poisoned, target=target, loss="cross_entropy", wait=30)
    (finding,) = [finding for finding in diagnosis.findings if finding.severity != "INFO"]
    assert ("non-finite-input", "input:0") == (finding.code, finding.location.name)
    assert 5 in [evidence.sample for evidence in finding.evidence]
