"""Runs a torch model through archive, program and probes, as a worker does, and judges what was measured."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from safetensors.torch import save_file

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.records import Finding, Severity
from gradclinic_engine.rules import judge
from gradclinic_worker import analysis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn

    from gradclinic_engine.measurements import Measurements

Form = Literal["script", "trace"]
FORMS: tuple[Form, Form] = ("script", "trace")


def observed(  # noqa: PLR0913 - what a request has
    model: nn.Module,
    inputs: Sequence[torch.Tensor],
    form: Form,
    *,
    target: torch.Tensor | None = None,
    loss: str = "",
    output: str = "",
    options: Mapping[str, float] | None = None,
) -> Measurements:
    """Measurements of one run; ``loss`` is a functional name, "model", or "" for the random projection."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        archive = (
            torch.jit.script(model) if form == "script" else torch.jit.trace(model, tuple(inputs), check_trace=False)
        )
        torch.jit.save(archive, folder / "model")
        save_file({str(place): each.clone() for place, each in enumerate(inputs)}, folder / "inputs")
        files = {
            executor_pb2.ATTACHMENT_MODEL: str(folder / "model"),
            executor_pb2.ATTACHMENT_INPUTS: str(folder / "inputs"),
        }
        spec = diagnosis_pb2.DiagnosisSpec(seed=1, output=output)
        if loss == "model":
            spec.loss.model.SetInParent()
        elif loss:
            spec.loss.functional.name = loss
            spec.loss.functional.options.update(dict(options or {}))
        else:
            spec.loss.random_projection.SetInParent()
        if target is not None:
            save_file({"target": target.clone()}, folder / "target")
            files[executor_pb2.ATTACHMENT_TARGET] = str(folder / "target")
        return analysis.measure(spec, files, device=torch.device("cpu"), entered=lambda _stage, _progress: None)


def alarms(measurements: Measurements) -> list[Finding]:
    """What is found above INFO; a rule that raises fails the test."""
    judgement = judge(measurements)
    assert judgement.bugs == ()
    return [finding for finding in judgement.findings if finding.severity > Severity.INFO]
