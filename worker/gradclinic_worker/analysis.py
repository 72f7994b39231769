"""The whole analysis of one request: archive, program, observe, rules, report."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import torch

from gradclinic import __version__
from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine import rules
from gradclinic_engine.observe import criterion, feed, further_runs, observe, randomness
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.torchscript import archive, program
from gradclinic_worker import report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradclinic_engine.measurements import Measurements

Entered: TypeAlias = "Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None]"
NANOSECONDS_PER_SECOND = 1_000_000_000


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
    """Everything up to the rules: what a run of the model shows.

    Args:
        spec: The request.
        files: Readable paths of its attachments.
        device: Where to run.
        entered: Told of each stage and of the progress, 0..1.

    Raises:
        AnalysisError: As in `analyse`.
    """
    randomness.seed(spec.seed)
    entered(diagnosis_pb2.DIAGNOSIS_STAGE_LOAD, 0.0)
    module, inlined = archive.load_inlined(files[executor_pb2.ATTACHMENT_MODEL], device=device, field="model")
    inputs = feed.read_tensors(files[executor_pb2.ATTACHMENT_INPUTS], device=device, field="inputs")
    feed.refuse_empty(inputs, field="inputs")
    arguments = feed.bind(module, inputs)
    loss = criterion.build(spec, files, device=device)
    entered(diagnosis_pb2.DIAGNOSIS_STAGE_PREPARE, 0.1)
    named = list(zip(_argument_names(module, inputs), arguments, strict=True))
    prepared = program.prepare(module, named, archive_path=files[executor_pb2.ATTACHMENT_MODEL], inlined=inlined)
    subject = Subject(prepared, tuple(arguments), inputs, loss, spec.seed)
    found = observe.observe(subject, entered=entered)
    found = replace(found, notes=(*found.notes, *randomness.note(found, spec.seed)))
    sources = further_runs.Sources(
        model=lambda: archive.load(files[executor_pb2.ATTACHMENT_MODEL], device=device, field="model"),
        inputs=lambda: feed.read_tensors(files[executor_pb2.ATTACHMENT_INPUTS], device=device, field="inputs"),
    )
    return further_runs.extend(found, subject, sources, spec.depth)


def _argument_names(module: torch.jit.ScriptModule, inputs: Mapping[str, torch.Tensor]) -> list[str]:
    """Each argument of forward under the name it was sent with."""
    sent = {name.partition(".")[0] for name in inputs}
    parameters = module.forward.schema.arguments[1:]  # type: ignore[attr-defined]  # typed as a plain callable
    return [str(i) if str(i) in sent else parameter.name for i, parameter in enumerate(parameters)]
