"""One small analysis run ahead of time, so that what torch sets up on first use is not on the path of a job."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

import safetensors.torch
import torch

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.errors import AnalysisError
from gradclinic_engine.observe import randomness
from gradclinic_engine.torchscript import conversion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_worker.process.executor import Analyse

_log = logging.getLogger(__name__)


class _Model(torch.nn.Module):
    """A classifier of four numbers, with something of which TorchScript's optimiser has a derivative of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(4, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.second = torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 4]``; returns ``[N, 2]``."""
        return self.second(torch.relu(self.norm(self.first(x))))  # type: ignore[no-any-return]  # modules are untyped calls


def survives_fork() -> bool:
    """Whether a run before the fork leaves nothing behind that its children cannot use.

    True where torch knows no device but the CPU: else the first backward starts a thread per device, and asks the
    driver for them, and neither survives a fork.
    """
    return torch.version.cuda is None and torch.version.hip is None and not torch.xpu._is_compiled()  # noqa: SLF001 - no public way


def rehearse(analyse: Analyse, device: torch.device, depth: diagnosis_pb2.Depth.ValueType) -> None:
    """Analyse a tiny model."""
    randomness.seed(0)
    archive = bytes(conversion.archive_traced(_Model(), torch.randn(4, 4)))
    tensors = {
        executor_pb2.ATTACHMENT_MODEL: archive,
        executor_pb2.ATTACHMENT_INPUTS: safetensors.torch.save({"0": torch.randn(4, 4)}),
        executor_pb2.ATTACHMENT_TARGET: safetensors.torch.save({"target": torch.tensor([0, 1, 1, 0])}),
    }
    spec = diagnosis_pb2.DiagnosisSpec(depth=depth)
    spec.loss.functional.name = "cross_entropy"
    with contextlib.ExitStack() as cleanup:
        files = {attachment: cleanup.enter_context(_file(content)) for attachment, content in tensors.items()}
        try:
            analyse(spec, files, device=device, entered=lambda _stage, _progress: None).SerializeToString()
        except AnalysisError as error:
            _log.warning("the rehearsal failed: %s", error)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    descriptor = os.memfd_create("rehearsal")
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
