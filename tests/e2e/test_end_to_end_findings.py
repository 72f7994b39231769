"""Whole diagnoses through every real part: what is found in healthy and in broken models, and where."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

if TYPE_CHECKING:
    from gradclinic import Client, Diagnosis, Finding


def worst(diagnosis: Diagnosis) -> Finding:
    """The only finding above INFO: one cause, one finding."""
    (finding,) = [finding for finding in diagnosis.findings if finding.severity != "INFO"]
    return finding


def test_a_healthy_model(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> None:
    diagnosis = client.diagnose(mlp, inputs, target=target, loss="cross_entropy", wait=30, reuse=False)
    expected = torch.nn.functional.cross_entropy(mlp(inputs), target).item()
    assert "HEALTHY" == diagnosis.verdict
    assert pytest.approx(expected, rel=1e-5) == diagnosis.loss
    assert ["0.weight", "0.bias", "2.weight", "2.bias"] == [parameter.name for parameter in diagnosis.parameters]
    assert {"FLOWING"} == {parameter.status for parameter in diagnosis.parameters}
    assert ["0", "1", "2"] == list(
        dict.fromkeys(site.location.module for site in diagnosis.sites if site.location.module)
    )


def test_the_gradients_are_those_of_torch(
    client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor
) -> None:
    mlp.zero_grad()
    torch.nn.functional.cross_entropy(mlp(inputs), target).backward()
    diagnosis = client.diagnose(mlp, inputs, target=target, loss="cross_entropy", wait=30)
    measured = {parameter.name: parameter.gradient for parameter in diagnosis.parameters}
    for name, parameter in mlp.named_parameters():
        gradient = measured[name]
        assert gradient is not None
        assert parameter.grad is not None
        assert pytest.approx(parameter.grad.square().mean().sqrt().item(), rel=1e-4) == gradient.rms


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 16), nn.Tanh())
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.encoder(x).detach()
        logits: torch.Tensor = self.head(features)
        return logits


def test_a_detached_encoder(client: Client, inputs: torch.Tensor, target: torch.Tensor) -> None:
    diagnosis = client.diagnose(Detached(), inputs, target=target, loss="cross_entropy", wait=30)
    finding = worst(diagnosis)
    assert ("detached-graph", "CRITICAL", "aten::detach") == (finding.code, finding.severity, finding.location.op)
    assert finding.location.source is not None
    assert "features = self.encoder(x).detach()" == finding.location.source.text
    assert __file__ == finding.location.source.file
    assert {"encoder.0.weight", "encoder.0.bias"} == set(finding.affected)
    assert finding.proof is None
    assert [note for note in diagnosis.notes if note.startswith("Not tried: the remedies.")]


class DeadRelu(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
        with torch.no_grad():
            self.get_parameter("layers.2.bias").fill_(-50.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(x)
        return logits


def test_a_layer_of_dead_relus(client: Client, inputs: torch.Tensor, target: torch.Tensor) -> None:
    torch.manual_seed(0)
    finding = worst(client.diagnose(DeadRelu(), inputs, target=target, loss="cross_entropy", wait=30))
    assert ("dead-relu", "CRITICAL", "layers.3") == (finding.code, finding.severity, finding.location.module)


def test_a_parameter_that_forward_does_not_read(client: Client, inputs: torch.Tensor, target: torch.Tensor) -> None:
    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used = nn.Linear(8, 3)
            self.forgotten = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.used(x)
            return logits

    finding = worst(client.diagnose(Forgetful(), inputs, target=target, loss="cross_entropy", wait=30))
    assert ("unused-parameter", "forgotten") == (finding.code, finding.location.module)


def test_the_first_op_that_makes_nan(client: Client, inputs: torch.Tensor, target: torch.Tensor) -> None:
    class Logarithm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(8, 8)
            self.last = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.last(self.first(x).log())
            return logits

    torch.manual_seed(0)
    diagnosis = client.diagnose(Logarithm(), inputs, target=target, loss="cross_entropy", wait=30)
    finding = worst(diagnosis)
    assert ("non-finite-forward", "aten::log") == (finding.code, finding.location.op)
    assert diagnosis.loss is not None
    assert math.isnan(diagnosis.loss)


def test_without_a_loss_the_diagnosis_says_what_it_did_not_judge(
    client: Client, mlp: nn.Module, inputs: torch.Tensor
) -> None:
    diagnosis = client.diagnose(mlp, inputs, wait=30)
    assert "HEALTHY" == diagnosis.verdict
    assert any("loss" in unobserved.what for unobserved in diagnosis.unobserved)


def test_a_model_that_returns_its_loss(client: Client, inputs: torch.Tensor) -> None:
    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(8, 1)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            loss: torch.Tensor = (self.body(x) - y).square().mean()
            return loss

    torch.manual_seed(0)
    model = WithLoss()
    labels = torch.randn(32, 1)
    diagnosis = client.diagnose(model, (inputs, labels), loss="model", wait=30)
    assert "HEALTHY" == diagnosis.verdict
    assert pytest.approx(model(inputs, labels).item(), rel=1e-5) == diagnosis.loss
