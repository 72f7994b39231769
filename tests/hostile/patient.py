"""Sends archives to a real worker, and checks that the next job is none the worse."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import safetensors.torch
import torch

from gradclinic.v1 import diagnosis_pb2
from hostile import hostile_archives

if TYPE_CHECKING:
    from real_worker import RealWorker

SAMPLES = 16


class Patient:
    """What a caller of a worker does: sends a model, waits for the outcome."""

    def __init__(self, worker: RealWorker) -> None:
        """Send to a worker."""
        self.worker = worker
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(SAMPLES, hostile_archives.FEATURES, generator=generator)
        target = torch.randint(0, hostile_archives.CLASSES, (SAMPLES,), generator=generator)
        self.inputs = safetensors.torch.save({"0": inputs})
        self.target = safetensors.torch.save({"target": target})

    def diagnose(
        self,
        archive: bytes,
        *,
        inputs: bytes | None = None,
        target: bytes | None = None,
        timeout_seconds: int = 20,
        depth: diagnosis_pb2.Depth.ValueType = diagnosis_pb2.DEPTH_QUICK,
    ) -> diagnosis_pb2.Diagnosis:
        """How the diagnosis of an archive ends."""
        spec = self.spec(archive, inputs=inputs, target=target, timeout_seconds=timeout_seconds, depth=depth)
        return self.worker.final(self.worker.create(spec), timeout_seconds + 30.0)

    def spec(
        self,
        archive: bytes,
        *,
        inputs: bytes | None = None,
        target: bytes | None = None,
        timeout_seconds: int = 20,
        depth: diagnosis_pb2.Depth.ValueType = diagnosis_pb2.DEPTH_QUICK,
    ) -> diagnosis_pb2.DiagnosisSpec:
        """The request for it, whose artifacts are there."""
        spec = diagnosis_pb2.DiagnosisSpec(
            model_sha256=self.worker.upload(archive),
            inputs_sha256=self.worker.upload(self.inputs if inputs is None else inputs),
            target_sha256=self.worker.upload(self.target if target is None else target),
            depth=depth,
            labels={"once": uuid.uuid4().hex},
        )
        spec.loss.functional.name = "cross_entropy"
        spec.timeout.FromSeconds(timeout_seconds)
        return spec

    def failure(self, archive: bytes, **options: int) -> tuple[str, str]:
        """Reason and message of an archive's failure."""
        failure = self.diagnose(archive, timeout_seconds=options.get("timeout_seconds", 20)).failure
        return diagnosis_pb2.FailureReason.Name(failure.reason).removeprefix("FAILURE_REASON_"), failure.message

    def next_job_is_unaffected(self) -> None:
        """Diagnose a healthy model."""
        diagnosis = self.diagnose(hostile_archives.saved(hostile_archives.Plain()))
        assert diagnosis.state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, diagnosis.failure
