"""A scripted and a traced MLP go in, Measurements come out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.torchscript import probe
from gradclinic_worker import analysis

if TYPE_CHECKING:
    from pathlib import Path

    from gradclinic_engine.measurements import Measurements


class Mlp(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def measured(path: Path, module: torch.jit.ScriptModule) -> Measurements:
    torch.manual_seed(1)
    torch.jit.save(module, path / "model.pt")
    save_file({"0": torch.randn(5, 4)}, path / "inputs")
    save_file({"target": torch.tensor([0, 1, 2, 0, 1])}, path / "target")
    spec = diagnosis_pb2.DiagnosisSpec(
        loss=diagnosis_pb2.LossSpec(functional=diagnosis_pb2.FunctionalLoss(name="cross_entropy"))
    )
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(path / "model.pt"),
        executor_pb2.ATTACHMENT_INPUTS: str(path / "inputs"),
        executor_pb2.ATTACHMENT_TARGET: str(path / "target"),
    }
    return analysis.measure(spec, files, device=torch.device("cpu"), entered=lambda _stage, _progress: None)


def check(found: Measurements) -> None:
    assert [(site.op, site.module) for site in found.sites] == [
        ("aten::linear", "layers.0"),
        ("aten::relu", "layers.1"),
        ("aten::linear", "layers.2"),
    ]
    assert [each.status for each in found.parameters] == [GradientStatus.FLOWING] * 4
    assert all(site.gradient is not None for site in found.sites)
    assert found.loss.outputs == (2,)
    assert found.loss.requires_grad
    assert not probe.are_on()


def test_scripted(tmp_path: Path) -> None:
    check(measured(tmp_path, torch.jit.script(Mlp())))


def test_traced(tmp_path: Path) -> None:
    check(measured(tmp_path, torch.jit.trace(Mlp(), torch.randn(5, 4))))
