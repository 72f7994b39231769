"""The whole analysis of one request: archive, program, observe, rules, report."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, TypeAlias

import torch
from google.protobuf import json_format

from gradclinic import __version__
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine import diagnose, rules
from gradclinic_engine.request import Depth, LossRequest, Request, Stage
from gradclinic_worker import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradclinic_engine.measurements import Measurements

Entered: TypeAlias = "Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None]"
NANOSECONDS_PER_SECOND = 1_000_000_000
LOSS_KINDS = {
    "functional": "functional",
    "module_sha256": "module",
    "model": "model",
    "random_projection": "random_projection",
    None: "random_projection",
}
STAGES = {stage: diagnosis_pb2.DiagnosisStage.Value(f"DIAGNOSIS_STAGE_{stage}") for stage in Stage}
DEPTHS = {diagnosis_pb2.Depth.Value(f"DEPTH_{depth}"): depth for depth in Depth}


class StageClock:
    """Tells the caller which stage begins, and remembers how long each took."""

    def __init__(self, entered: Entered) -> None:
        self._entered = entered
        self._seconds: dict[diagnosis_pb2.DiagnosisStage.ValueType, float] = {}
        self._current: diagnosis_pb2.DiagnosisStage.ValueType | None = None
        self._since = 0.0

    def enter(self, stage: diagnosis_pb2.DiagnosisStage.ValueType, progress: float) -> None:
        """A stage begins; the one before it ends."""
        self.stop()
        self._current, self._since = stage, time.perf_counter()
        self._entered(stage, progress)

    def stop(self) -> None:
        """The current stage ends."""
        if self._current is not None:
            spent = time.perf_counter() - self._since
            self._seconds[self._current] = self._seconds.get(self._current, 0.0) + spent
        self._current = None

    def timings(self) -> list[diagnosis_pb2.StageTiming]:
        """What each stage took, in the order of the stages."""
        found = []
        for stage, seconds in sorted(self._seconds.items()):
            timing = diagnosis_pb2.StageTiming(stage=stage)
            timing.duration.FromNanoseconds(int(seconds * NANOSECONDS_PER_SECOND))
            found.append(timing)
        return found


def analyse(
    spec: diagnosis_pb2.DiagnosisSpec,
    files: Mapping[executor_pb2.Attachment.ValueType, str],
    *,
    device: torch.device,
    entered: Entered,
) -> diagnosis_pb2.DiagnosisResult:
    """Diagnoses one model.

    Args:
        spec: The request.
        files: Readable paths of its attachments.
        device: Where to run.
        entered: Told of each stage and of the progress, 0..1.

    Raises:
        AnalysisError: When there can be no result: BAD_ARCHIVE, FORBIDDEN_OPERATOR,
            BAD_INPUTS, FORWARD_ERROR, LOSS_ERROR, OUT_OF_MEMORY.
    """
    clock = StageClock(entered)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    measurements = measure(spec, files, device=device, entered=clock.enter)
    clock.enter(diagnosis_pb2.DIAGNOSIS_STAGE_JUDGE, 0.9)
    judgement = rules.judge(measurements)
    clock.stop()
    environment = diagnosis_pb2.Environment(
        device=f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device),
        torch_version=str(torch.__version__),
        gradclinic_version=__version__,
        timings=clock.timings(),
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
        peak_device_memory_bytes=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0,
        threads=torch.get_num_threads(),
    )
    return report.report(measurements, judgement, environment)


def measure(
    spec: diagnosis_pb2.DiagnosisSpec,
    files: Mapping[executor_pb2.Attachment.ValueType, str],
    *,
    device: torch.device,
    entered: Entered,
) -> Measurements:
    """Everything up to the rules, with the arguments and errors of `analyse`."""
    return diagnose.measure(
        request_of(spec, files),
        device=device,
        entered=lambda stage, progress: entered(STAGES[stage], progress),
    )


def request_of(spec: diagnosis_pb2.DiagnosisSpec, files: Mapping[executor_pb2.Attachment.ValueType, str]) -> Request:
    """The engine's request for one of the contract."""
    return Request(
        model=files[executor_pb2.ATTACHMENT_MODEL],
        inputs=files[executor_pb2.ATTACHMENT_INPUTS],
        target=files.get(executor_pb2.ATTACHMENT_TARGET),
        loss=LossRequest(
            kind=LOSS_KINDS[spec.loss.WhichOneof("kind")],
            name=spec.loss.functional.name,
            options=json_format.MessageToDict(spec.loss.functional.options),
            module=files.get(executor_pb2.ATTACHMENT_LOSS),
            tensors=files.get(executor_pb2.ATTACHMENT_LOSS_OPTIONS),
        ),
        output=spec.output,
        depth=DEPTHS.get(spec.depth, Depth.STANDARD),
        seed=spec.seed,
    )
