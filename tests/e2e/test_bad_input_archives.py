"""Models that are none: each gets an error of its own, and the next diagnosis runs."""

from __future__ import annotations

import copy
import io
import pickle
import zipfile

import pytest
import torch
from torch import nn

from gradclinic import BadCall, Client, DiagnosisFailed

pytestmark = pytest.mark.usefixtures("next_job_runs")


def archive(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(module), buffer)
    return buffer.getvalue()


def plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("holiday/photo.txt", "the sea")
    return buffer.getvalue()


def saved_by_torch_save(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def failure(client: Client, model: bytes, inputs: torch.Tensor) -> DiagnosisFailed:
    with pytest.raises(DiagnosisFailed) as caught:
        client.diagnose(model, inputs, wait=30)
    return caught.value


def test_an_empty_file_is_refused_before_it_is_sent(client: Client, inputs: torch.Tensor) -> None:
    with pytest.raises(BadCall, match="model: got no bytes"):
        client.diagnose(b"", inputs)


def test_a_zip_without_code(client: Client, inputs: torch.Tensor) -> None:
    failed = failure(client, plain_zip(), inputs)
    assert ("BAD_ARCHIVE", "model") == (failed.reason, failed.field)
    assert "no TorchScript archive" in failed.message
    assert "torch.jit.save" in failed.message


def test_a_file_that_is_nothing_at_all(client: Client, inputs: torch.Tensor) -> None:
    failed = failure(client, b"GIF89a" * 100, inputs)
    assert ("BAD_ARCHIVE", "model") == (failed.reason, failed.field)
    assert "does not start like a zip file" in failed.message


def test_half_an_archive(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    whole = archive(mlp)
    failed = failure(client, whole[: len(whole) // 2], inputs)
    assert ("BAD_ARCHIVE", "model") == (failed.reason, failed.field)
    assert "truncated" in failed.message


def test_a_pickle(client: Client, inputs: torch.Tensor) -> None:
    failed = failure(client, pickle.dumps({"weights": [1.0, 2.0]}), inputs)
    assert ("BAD_ARCHIVE", "model") == (failed.reason, failed.field)
    assert "pickle" in failed.message


def test_a_state_dict(client: Client, mlp: nn.Module, inputs: torch.Tensor) -> None:
    failed = failure(client, saved_by_torch_save(mlp.state_dict()), inputs)
    assert ("BAD_ARCHIVE", "model") == (failed.reason, failed.field)
    assert "state_dict" in failed.message


def test_a_frozen_graph(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(copy.deepcopy(mlp).eval())), buffer)
    diagnosis = client.diagnose(buffer.getvalue(), inputs, target=target, loss="cross_entropy", wait=30)
    assert ["inference-trace"] == [finding.code for finding in diagnosis.findings]


class WithoutParameters(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() * 2


def test_a_model_without_parameters(client: Client, inputs: torch.Tensor) -> None:
    diagnosis = client.diagnose(WithoutParameters(), inputs, wait=30)
    assert ["loss-disconnected"] == [finding.code for finding in diagnosis.findings]
    assert () == diagnosis.parameters


class Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.size(0) > 0:
            raise ValueError("the gate is closed")
        logits: torch.Tensor = self.body(x)
        return logits


def test_a_model_that_raises(client: Client, inputs: torch.Tensor) -> None:
    failed = failure(client, archive(Raising()), inputs)
    assert "FORWARD_ERROR" == failed.reason
    assert "the gate is closed" in failed.message
    assert 'raise ValueError("the gate is closed")' in failed.trace
