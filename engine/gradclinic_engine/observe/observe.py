"""Runs an instrumented program once, forward and backward, and turns what the probes saw into Measurements."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.errors import AnalysisError, FailureReason, RaisedError
from gradclinic_engine.measurements import batch_size_of
from gradclinic_engine.memory_errors import says_out_of_memory
from gradclinic_engine.observe import (
    gradient_peaks,
    input_variation,
    misfit,
    norm_fit,
    observe_table,
    randomness,
    statistics,
    unit_twins,
)
from gradclinic_engine.observe.observe_recorder import Recorder
from gradclinic_engine.observe.observe_run import Run
from gradclinic_engine.observe.statistics import Gauge
from gradclinic_engine.request import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradclinic_engine.front_end import Listener, Program
    from gradclinic_engine.measurements import Measurements, Variation
    from gradclinic_engine.observe.observe_run import Subject

# Operands of at most this many sites are looked up in a second run.
MAX_EXAMINED_SITES = 8
# Buffers larger than this together are not restored between two runs, so there is no second run.
MAX_RESTORED_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run showed, and the way to look again.

    Attributes:
        measurements: Of the run.
        raised: What forward or the loss raised; then there is no loss.
    """

    measurements: Measurements
    raised: RaisedError | None
    _subject: Subject
    _before: list[tuple[torch.Tensor, torch.Tensor]] | None

    def with_peaks(self, sites: Sequence[int]) -> Measurements:
        """Runs once more where that is possible, to find where the gradients of (the first few) sites are largest."""
        if not sites or self._before is None:
            return self.measurements
        _restore(self._before)
        wanted = frozenset(sites[: gradient_peaks.MAX_SITES])
        return gradient_peaks.with_peaks(self.measurements, _peaks(self._subject, wanted))


def observe(
    subject: Subject,
    *,
    entered: Callable[[Stage, float], None] = lambda _stage, _progress: None,
) -> Observation:
    """Runs a program forward, its loss, and backward, with a listener.

    A healthy program runs once. Where something non-finite was seen it runs a
    second time with the same seed to find the operands that did it.

    Raises:
        AnalysisError: OUT_OF_MEMORY, or LOSS_ERROR where the loss gives no scalar.
    """
    device = next((tensor.device for tensor in subject.inputs.values()), torch.device("cpu"))
    variation = input_variation.variations(subject.inputs)
    seen, distinct = _distinct_samples(subject, variation)
    before = _snapshot(subject)
    run = _run(subject, entered, is_immediate=device.type != "cuda")
    observe_table.settle_gauges(run)
    if before is not None and observe_table.is_sick(run):
        if not run.recorder.is_immediate:
            _restore(before)
            run = _run(subject, entered, is_immediate=True)
        if examined := observe_table.first_to_fail(run, MAX_EXAMINED_SITES):
            _restore(before)
            run = _run(subject, entered, is_immediate=True, kept_operands=examined)
    found = observe_table.measurements(subject, run)
    channels = {i: each.channels for i, each in enumerate(run.recorder.tallies) if each.channels is not None}
    found = norm_fit.with_fits(found, channels, subject.program.parameters)
    inputs = tuple(replace(each, variation=variation.get(each.name)) for each in found.inputs)
    found = replace(found, inputs=inputs, seen_samples=seen, distinct_samples=distinct)
    return Observation(found, run.raised, subject, before)


def _peaks(subject: Subject, wanted: frozenset[int]) -> gradient_peaks.Peaks:
    peaks = gradient_peaks.Peaks(wanted)
    randomness.seed(subject.seed)
    try:
        with _modes_restored():
            loss = subject.criterion(_forward(subject, peaks))
            peaks.is_backward = True
            _backward(subject.program, loss)
    finally:
        for parameter in subject.program.parameters.values():
            parameter.grad = None
    return peaks


def _distinct_samples(subject: Subject, variation: dict[str, Variation]) -> tuple[int, int]:
    """How many samples were compared, and how many of them are different; of a lone input that is known already."""
    compared = _one_per_sample(subject)
    names = [name for name, tensor in subject.inputs.items() if any(tensor is each for each in compared)]
    if len(names) == 1 and names[0] in variation:
        return variation[names[0]].samples, variation[names[0]].distinct_samples
    return input_variation.distinct_samples(compared)


def _one_per_sample(subject: Subject) -> list[torch.Tensor]:
    """The inputs that have one entry for each sample of the batch."""
    inputs = list(subject.inputs.values())
    targets = list(subject.criterion.targets.values())
    size = batch_size_of([tensor.shape for tensor in inputs], [tensor.shape for tensor in targets])
    return [tensor for tensor in inputs if tensor.dim() and tensor.shape[0] == size]


def _run(
    subject: Subject,
    entered: Callable[[Stage, float], None],
    *,
    is_immediate: bool,
    kept_operands: frozenset[int] = frozenset(),
) -> Run:
    randomness.seed(subject.seed)
    lasting = observe_table.lasting_tensors(subject)
    recorder = Recorder(subject.program, lasting.items(), is_immediate=is_immediate, kept_operands=kept_operands)
    run = Run(recorder, {}, {})
    for atom, tensor in lasting.items():
        run.lasting[atom] = _gauge(tensor, is_immediate=is_immediate)
        if run.lasting[atom].nonfinite:
            recorder.declare_nonfinite(atom)
    for name, tensor in subject.criterion.targets.items():
        run.targets[name] = _gauge(tensor, is_immediate=is_immediate)
    with _parameter_gradients(subject, run), _modes_restored():
        entered(Stage.FORWARD, 0.2)
        try:
            loss = _loss(subject, run)
        except RaisedError as error:
            run.raised = error
            return run
        run.loss, run.loss_requires_grad = float(loss.detach().item()), loss.requires_grad
        entered(Stage.BACKWARD, 0.5)
        run.recorder.is_backward = True
        if subject.criterion.program is not None and subject.criterion.program.recorder is not None:
            subject.criterion.program.recorder.is_backward = True
        if loss.requires_grad:
            run.backward_error = _backward(subject.program, loss)
    return run


def _loss(subject: Subject, run: Run) -> torch.Tensor:
    """Forward and the loss, shape ``[]``."""
    output = _forward(subject, run.recorder)
    read = subject.criterion.read(output)
    run.outputs = subject.program.origins(output, read)
    run.call = subject.criterion.call(read)
    loss = subject.criterion(output, run.recorder)
    if run.call is not None:
        run.call.has_returned()
    return loss


def _forward(subject: Subject, listener: Listener) -> object:
    program = subject.program
    try:
        output = program.run(subject.arguments, listener)
    except program.raises as error:
        if says_out_of_memory(error):
            raise _out_of_memory(program, error) from error
        said, trace = program.said(error)
        failure = misfit.forward_error(said, trace, subject.inputs, program.parameters.values())
        raise RaisedError(failure, said) from error
    return output


def _backward(program: Program, loss: torch.Tensor) -> str:
    """Runs the backward pass; what it raised, or ""."""
    try:
        loss.backward()
    except program.raises as error:
        if says_out_of_memory(error):
            raise _out_of_memory(program, error) from error
        return str(error).strip()
    return ""


def _out_of_memory(program: Program, error: BaseException) -> AnalysisError:
    message, trace = program.said(error)
    return AnalysisError(
        FailureReason.OUT_OF_MEMORY,
        f"The run needed more memory than there is: {message} Send fewer samples.",
        trace=trace,
    )


@contextmanager
def _parameter_gradients(subject: Subject, run: Run) -> Iterator[None]:
    """Measures each parameter's gradient when it is complete, and drops it at once."""
    handles = []
    trainable = {name: each for name, each in subject.program.parameters.items() if each.requires_grad}
    alike = unit_twins.with_equal_weights(trainable)

    def measured(name: str) -> Callable[[torch.Tensor], None]:
        def on_gradient(parameter: torch.Tensor) -> None:
            gradient = parameter.grad
            if gradient is not None and run.recorder.is_backward:
                run.gradients[name] = _gauge(gradient, is_immediate=run.recorder.is_immediate)
                if name in alike:
                    run.twins[name] = unit_twins.twin_shares(parameter, gradient)
                parameter.grad = None

        return on_gradient

    try:
        for name, parameter in subject.program.parameters.items():
            parameter.grad = None
            if parameter.requires_grad:
                handles.append(parameter.register_post_accumulate_grad_hook(measured(name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
        for parameter in subject.program.parameters.values():
            parameter.grad = None


@contextmanager
def _modes_restored() -> Iterator[None]:
    """A program that raises inside no_grad leaves the mode behind."""
    before = torch.is_grad_enabled()
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_grad_enabled(before)


def _gauge(tensor: torch.Tensor, *, is_immediate: bool) -> Gauge:
    """Statistics of one tensor that is there as a whole."""
    gauge = Gauge()
    missing = 0
    if tensor.layout is not torch.strided:
        values = tensor.coalesce().values() if tensor.layout is torch.sparse_coo else tensor.to_dense()
        missing, tensor = tensor.numel() - values.numel(), values
    if is_immediate:
        gauge.add(statistics.measure(tensor, sample=gauge.samples))
    else:
        gauge.rows.append(statistics.measure_on_device(tensor, sample=gauge.samples))
    if missing > 0:
        gauge.add((float(missing), 0.0, float(missing), 0.0, 0.0, 0.0, 0.0))
    return gauge


def _snapshot(subject: Subject) -> list[tuple[torch.Tensor, torch.Tensor]] | None:
    """Copies of what a run may change, buffers and inputs; None when they are too large to keep."""
    changing = [*subject.program.buffers.values(), *subject.inputs.values()]
    if sum(tensor.numel() * tensor.element_size() for tensor in changing) > MAX_RESTORED_BYTES:
        return None
    return [(tensor, tensor.detach().clone().requires_grad_(tensor.requires_grad)) for tensor in changing]


def _restore(copies: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    with torch.no_grad():
        for tensor, copy in copies:
            if tensor.shape == copy.shape:
                tensor.copy_(copy)
            if tensor.is_leaf:  # a program that takes derivatives may have asked for one of its input
                tensor.requires_grad_(copy.requires_grad).grad = None
