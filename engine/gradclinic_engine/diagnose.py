"""One request from end to end: archive, program, observe, rules, result."""

from __future__ import annotations

import resource
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import torch

from gradclinic_engine import rules, tensors
from gradclinic_engine.observe import criterion, further_runs, observe, randomness
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.reading import coverage, raised_errors
from gradclinic_engine.reading.conditioning import steep_ops
from gradclinic_engine.reading.paths import Paths
from gradclinic_engine.records import Environment, Verdict
from gradclinic_engine.request import Depth, Stage
from gradclinic_engine.result import result_of
from gradclinic_engine.torchscript import archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.records import DiagnosisResult
    from gradclinic_engine.request import Request

Entered: TypeAlias = "Callable[[Stage, float], None]"


class StageClock:
    """Tells the caller which stage begins, and remembers how long each took."""

    def __init__(self, entered: Entered) -> None:
        self._entered = entered
        self._current: Stage | None = None
        self._since = 0.0
        self.seconds: dict[str, float] = {}

    def enter(self, stage: Stage, progress: float) -> None:
        """A stage begins; the one before it ends."""
        self.stop()
        self._current, self._since = stage, time.perf_counter()
        self._entered(stage, progress)

    def stop(self) -> None:
        """The current stage ends."""
        if self._current is not None:
            spent = time.perf_counter() - self._since
            self.seconds[self._current.value] = self.seconds.get(self._current.value, 0.0) + spent
        self._current = None


def diagnose(request: Request, *, device: torch.device, version: str, entered: Entered) -> DiagnosisResult:
    """Diagnoses one model.

    Args:
        request: What to run.
        device: Where to run it.
        version: Of gradclinic, for the environment that the result names.
        entered: Called with each stage and the progress, 0..1.

    Raises:
        AnalysisError: As in `measure`.
    """
    clock = StageClock(entered)
    is_cuda = device.type == "cuda"
    if is_cuda:
        torch.cuda.reset_peak_memory_stats(device)
    measurements = measure(request, device=device, entered=clock.enter)
    clock.enter(Stage.JUDGE, 0.9)
    judgement = rules.judge(measurements)
    clock.stop()
    environment = Environment(
        device=f"{device} {torch.cuda.get_device_name(device)}" if is_cuda else str(device),
        torch_version=str(torch.__version__),
        gradclinic_version=version,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # Linux counts in KiB
        peak_device_memory_bytes=torch.cuda.max_memory_allocated(device) if is_cuda else 0,
        threads=torch.get_num_threads(),
        seconds_by_stage=clock.seconds,
    )
    result = result_of(judgement, environment)
    return replace(result, notes=(*result.notes, *_not_tried(request, result)))


def measure(request: Request, *, device: torch.device, entered: Entered) -> Measurements:
    """What a run of the model shows.

    Args:
        request: What to run.
        device: Where to run it.
        entered: Called with each stage and the progress, 0..1.

    Raises:
        AnalysisError: When there can be no result: BAD_ARCHIVE, FORBIDDEN_OPERATOR,
            BAD_INPUTS, FORWARD_ERROR, LOSS_ERROR, OUT_OF_MEMORY.
    """
    randomness.seed(request.seed)
    entered(Stage.LOAD, 0.0)
    load = partial(archive.open_archive, device=device)
    model = load(request.model, "model")
    inputs = tensors.read_tensors(request.inputs, device=device, field="inputs")
    tensors.refuse_empty(inputs, field="inputs")
    arguments = model.bind(inputs)
    loss = criterion.build(request, device=device, load=load)
    entered(Stage.PREPARE, 0.1)
    subject = Subject(model.prepare(arguments), tuple(arguments.values()), inputs, loss, request.seed)
    found = observed(subject, entered=entered)
    found = replace(
        found,
        notes=(*found.notes, *randomness.note(found, request.seed)),
        unobserved=(*found.unobserved, *coverage.without_row(found)),
    )
    sources = further_runs.Sources(
        model=lambda: load(request.model, "model"),
        inputs=lambda: tensors.read_tensors(request.inputs, device=device, field="inputs"),
    )
    return further_runs.extend(found, subject, sources, request.depth)


def observed(subject: Subject, *, entered: Entered = lambda _stage, _progress: None) -> Measurements:
    """What one run shows, and where some op made the gradient enormous, of which element.

    Raises:
        AnalysisError: FORWARD_ERROR when the model raises, LOSS_ERROR when the loss does, and what they raise is
            no diagnosis by itself; OUT_OF_MEMORY.
    """
    seen = observe.observe(subject, entered=entered)
    found = seen.measurements
    if seen.raised is not None and raised_errors.recognise(found.with_loss or found) is None:
        raise seen.raised
    return seen.with_peaks([steep.operand.index for steep in steep_ops(Paths(found))])


def _not_tried(request: Request, result: DiagnosisResult) -> tuple[str, ...]:
    """What was asked for, or belongs to the depth, and is not done yet."""
    notes = []
    if request.depth is not Depth.QUICK and result.verdict is not Verdict.HEALTHY:
        notes.append(
            "Not tried: the remedies. No change is tried on a copy of the model yet, so no finding has a proof."
        )
    if request.depth is Depth.THOROUGH:
        notes.append("Not tried: the training probe. It does not exist yet: `thorough` did the same as `standard`.")
    if request.optimizer:
        notes.append(f"Not tried: judgements that depend on the optimizer ({request.optimizer}). None does yet.")
    return tuple(notes)
