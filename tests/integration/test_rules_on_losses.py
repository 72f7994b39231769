"""Losses that raise, targets, loss modules and inputs, through the whole analysis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gradclinic.v1 import diagnosis_pb2 as pb
from gradclinic.v1 import executor_pb2, finding_pb2
from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_worker import analysis

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CLASSES = torch.arange(16) % 3


def diagnose(
    folder: Path,
    loss: str | nn.Module,
    target: torch.Tensor | Mapping[str, torch.Tensor],
    *tail: nn.Module,
    x: torch.Tensor | None = None,
    **options: float,
) -> pb.DiagnosisResult:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.GELU(), nn.Linear(8, 3), *tail)
    files = {
        executor_pb2.ATTACHMENT_MODEL: str(folder / "model.pt"),
        executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs"),
        executor_pb2.ATTACHMENT_TARGET: str(folder / "target"),
    }
    torch.jit.save(torch.jit.script(model), files[executor_pb2.ATTACHMENT_MODEL])
    save_file({"0": torch.randn(16, 5) if x is None else x}, files[executor_pb2.ATTACHMENT_INPUTS])
    named = {"target": target} if isinstance(target, torch.Tensor) else dict(target)
    save_file(named, files[executor_pb2.ATTACHMENT_TARGET])
    spec = pb.DiagnosisSpec(depth=pb.DEPTH_QUICK)
    if isinstance(loss, str):
        spec.loss.functional.name = loss
        spec.loss.functional.options.update(options)
    else:
        files[executor_pb2.ATTACHMENT_LOSS] = str(folder / "loss.pt")
        torch.jit.save(torch.jit.script(loss), files[executor_pb2.ATTACHMENT_LOSS])
        spec.loss.module_sha256 = "0" * 64
    return analysis.analyse(spec, files, device=torch.device("cpu"), entered=lambda *_: None)


def codes(result: pb.DiagnosisResult) -> list[tuple[str, str]]:
    return [(f.code, f.location.name) for f in result.findings if f.severity > finding_pb2.SEVERITY_INFO]


def test_a_healthy_loss_is_silent(tmp_path: Path) -> None:
    assert [] == codes(diagnose(tmp_path, "cross_entropy", CLASSES))


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        pytest.param("cross_entropy", CLASSES.float(), id="float classes"),
        pytest.param("cross_entropy", CLASSES.unsqueeze(1), id="column"),
        pytest.param("cross_entropy", CLASSES[:15], id="too few"),
        pytest.param("mse_loss", torch.zeros(16, 4), id="other width"),
        pytest.param("binary_cross_entropy_with_logits", torch.zeros(16), id="vector"),
    ],
)
def test_what_the_loss_refuses_is_a_finding(tmp_path: Path, loss: str, target: torch.Tensor) -> None:
    assert [("target-mismatch", "target")] == codes(diagnose(tmp_path, loss, target))


@pytest.mark.parametrize("loss", ["cross_entropy", "multi_margin_loss", nn.CrossEntropyLoss()])
def test_a_class_too_many_names_its_sample(tmp_path: Path, loss: str | nn.Module) -> None:
    labels = CLASSES.clone()
    labels[11] = 3
    result = diagnose(tmp_path, loss, labels)
    assert [("target-out-of-range", "target")] == codes(result)
    assert 11 in [evidence.sample for evidence in result.findings[0].evidence]


def test_scores_that_binary_cross_entropy_refuses(tmp_path: Path) -> None:
    result = diagnose(tmp_path, "binary_cross_entropy", torch.rand(16, 3).round())
    assert [("missing-softmax", "loss")] == codes(result)


def test_an_error_that_is_not_the_targets_stays_a_failure(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        diagnose(tmp_path, "huber_loss", torch.zeros(16, 3), delta=-1.0)
    assert FailureReason.LOSS_ERROR == caught.value.reason


def test_nan_scores_are_not_missing_probabilities(tmp_path: Path) -> None:
    x = torch.randn(16, 5)
    x[2] = torch.nan
    with pytest.raises(AnalysisError):
        diagnose(tmp_path, "binary_cross_entropy", torch.rand(16, 3).round(), nn.Sigmoid(), x=x)


class Both(nn.Module):
    """Softmax before a loss module that applies it again: the fault lies across the two programs."""

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(output * 1, target)


def test_a_softmax_is_seen_across_the_border_to_the_loss_module(tmp_path: Path) -> None:
    result = diagnose(tmp_path, Both(), CLASSES, nn.Softmax(dim=1))
    assert [("double-softmax", "3")] == [(f.code, f.location.module) for f in result.findings]


def test_operations_of_a_loss_module_are_no_sites_of_the_model(tmp_path: Path) -> None:
    result = diagnose(tmp_path, Both(), CLASSES)
    assert ["aten::linear", "aten::gelu", "aten::linear"] == [site.location.op for site in result.sites]


def test_all_copies_are_duplicates_and_nothing_else(tmp_path: Path) -> None:
    result = diagnose(tmp_path, "cross_entropy", CLASSES, x=torch.randn(1, 5).repeat(16, 1))
    assert [("duplicate-samples", "input:0")] == codes(result)
