"""Runs a torch model through a whole diagnosis, and the same model in plain eager autograd, to compare the two."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest
import torch
from safetensors.torch import save_file

from gradclinic.tensors import is_numbers
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.observe import criterion
from gradclinic_engine.result import result_of
from gradclinic_engine.rules import judge
from gradclinic_engine.torchscript import archive, probe
from gradclinic_worker import analysis, report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from gradclinic_engine.measurements import Measurements, Site
    from observed_models import Form

Files: TypeAlias = "dict[executor_pb2.Attachment.ValueType, str]"
CPU = torch.device("cpu")
LOAD = partial(archive.open_archive, device=CPU)


@dataclass(frozen=True)
class Request:
    """What a client sends: a model, its arguments, a loss."""

    model: nn.Module
    arguments: tuple[object, ...]
    form: Form = "script"
    loss: str = ""  # a functional name, "model", or "" for the random projection
    target: torch.Tensor | None = None
    output: str = ""
    seed: int = 1

    def spec(self) -> diagnosis_pb2.DiagnosisSpec:
        spec = diagnosis_pb2.DiagnosisSpec(seed=self.seed, output=self.output)
        if self.loss == "model":
            spec.loss.model.SetInParent()
        elif self.loss:
            spec.loss.functional.name = self.loss
        else:
            spec.loss.random_projection.SetInParent()
        return spec

    def files(self, folder: Path) -> Files:
        # Compiling may run the model, which changes its buffers.
        model = copy.deepcopy(self.model)
        compiled = (
            torch.jit.script(model)
            if self.form == "script"
            else torch.jit.trace(model, copy.deepcopy(self.arguments), check_trace=False, strict=False)
        )
        torch.jit.save(compiled, folder / "model")
        save_file(named_tensors(self.arguments), folder / "inputs")
        files: Files = {
            executor_pb2.ATTACHMENT_MODEL: str(folder / "model"),
            executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs"),
        }
        if self.target is not None:
            save_file({"target": self.target}, folder / "target")
            files[executor_pb2.ATTACHMENT_TARGET] = str(folder / "target")
        return files


def named_tensors(arguments: object, name: str = "") -> dict[str, torch.Tensor]:
    """Arguments of forward as a client names them; None is left out."""
    if isinstance(arguments, torch.Tensor):
        return {name: arguments.detach().clone().contiguous()}
    if isinstance(arguments, (bool, int, float)) or (isinstance(arguments, list) and is_numbers(arguments)):
        return {name: torch.tensor(arguments)}
    if isinstance(arguments, dict):
        parts = [(str(key), part) for key, part in arguments.items()]
    elif isinstance(arguments, (tuple, list)):
        parts = [(str(place), part) for place, part in enumerate(arguments)]
    else:
        return {}
    return {
        key: each
        for part, below in parts
        for key, each in named_tensors(below, f"{name}.{part}" if name else part).items()
    }


def measured(request: Request) -> Measurements:
    """What a worker measures, after rules and report were tried on it as well."""
    with tempfile.TemporaryDirectory() as scratch:
        files = request.files(Path(scratch))
        before = {path: Path(path).read_bytes() for path in files.values()}
        found = analysis.measure(request.spec(), files, device=CPU, entered=lambda _stage, _progress: None)
        assert {path: Path(path).read_bytes() for path in files.values()} == before
    judgement = judge(found)
    assert [bug.trace for bug in judgement.bugs] == []
    assert report.report(result_of(judgement)).ByteSize()
    assert not probe.are_on()
    assert torch.is_grad_enabled()
    return found


def diagnosed(request: Request) -> list[bytes]:
    """Two diagnoses of the very same files as serialized results, without what a clock or the process tells."""
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        files = request.files(Path(scratch))
        for _ in range(2):
            result = analysis.analyse(request.spec(), files, device=CPU, entered=lambda _stage, _progress: None)
            result.ClearField("environment")
            results.append(result.SerializeToString(deterministic=True))
    return results


def eager(request: Request) -> tuple[float, dict[str, float | None]]:
    """The loss, and the RMS of each parameter's gradient (None where there is none), as torch gives them."""
    model = copy.deepcopy(request.model)
    with tempfile.TemporaryDirectory() as scratch:
        loss_of = criterion.build(
            analysis.request_of(request.spec(), request.files(Path(scratch))), device=CPU, load=LOAD
        )
    torch.manual_seed(request.seed)
    loss = loss_of(model(*copy.deepcopy(request.arguments)))
    if loss.requires_grad:
        loss.backward()
    return float(loss.detach()), {name: rms(each.grad) for name, each in model.named_parameters() if each.requires_grad}


def rms(gradient: torch.Tensor | None) -> float | None:
    if gradient is None:
        return None
    dense = gradient.to_dense().detach()
    wide = torch.view_as_real(dense) if dense.is_complex() else dense
    return float(wide.double().square().mean().sqrt())


def compared(request: Request, *, rel: float = 1e-4) -> Measurements:
    """Measurements whose loss and parameter gradients were found equal to eager autograd's."""
    found = measured(request)
    loss, gradients = eager(request)
    assert found.loss.value == pytest.approx(loss, rel=rel, nan_ok=True)
    assert found.loss.error == ""
    assert found.loss.backward_error == ""
    assert {
        each.name: each.gradient.rms if each.gradient is not None else None
        for each in found.parameters
        if each.requires_grad
    } == {
        name: value if value is None else pytest.approx(value, rel=rel, abs=1e-7, nan_ok=True)
        for name, value in gradients.items()
    }
    assert {each.name for each in found.parameters if each.status is GradientStatus.MISSING} == {
        name for name, value in gradients.items() if value is None
    }
    return found


def sites(found: Measurements, op: str) -> list[Site]:
    return [site for site in found.sites if site.op == f"aten::{op}"]


def only(found: Measurements, op: str) -> Site:
    (site,) = sites(found, op)
    return site


def unobserved(found: Measurements) -> Mapping[str, str]:
    """Of operations and parameters."""
    return {what: why for what, why in found.unobserved if "::" in what or "`" in what}
