"""Changes one sample of the batch and looks which other samples' outputs change with it, and where they get mixed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.errors import AnalysisError
from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.site_ops import op_of
from gradclinic_engine.measurements import SampleLeak
from gradclinic_engine.observe import randomness

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradclinic_engine.front_end import AttentionCall
    from gradclinic_engine.measurements import Measurements
    from gradclinic_engine.observe.observe_run import Subject

# The first sample, as in a recurrence over the wrong dimension only later ones change with it.
CHANGED_SAMPLE = 0
# Other samples' outputs count as changed from this share of the largest change (and of the output) on.
CHANGE_SHARE, OUTPUT_SHARE = 1e-3, 1e-5
MAX_RESTORED_BYTES = 256 * 2**20
MAX_CALLS_COMPARED = 64
PAIR = 2

Outputs = list[torch.Tensor]


class UnclearError(Exception):
    """Why nothing can be said about samples that mix."""


@dataclass(slots=True)
class Marks:
    """A listener that keeps sums of each site's values along each of its dimensions.

    Attributes:
        sums: By site and call: for each dimension ``[2, length]``, sums of the values and of their magnitudes.
        order: The same keys in the order of execution.
    """

    sums: dict[tuple[int, int], list[torch.Tensor]] = field(default_factory=dict)
    calls: dict[int, int] = field(default_factory=dict)

    def on_tensor(self, value: torch.Tensor, site: int) -> None:
        """A site gave a tensor."""
        call = self.calls.get(site, 0)
        self.calls[site] = call + 1
        if call >= MAX_CALLS_COMPARED or value.layout is not torch.strided or value.is_complex() or not value.dim():
            return
        wide = torch.nan_to_num(value.detach().double())
        both = torch.stack([wide, wide.abs()])
        others = [[1 + d for d in range(value.dim()) if d != dimension] for dimension in range(value.dim())]
        self.sums[site, call] = [both.sum(dims) if dims else both for dims in others]

    def on_list(self, values: list[torch.Tensor], site: int) -> None:
        """A site gave a list of tensors."""
        for value in values:
            self.on_tensor(value, site)

    def on_visit(self, site: int) -> None:
        """A site gave no tensor."""

    def on_operands(self, values: list[torch.Tensor], site: int) -> None:
        """What a loss gets is of no interest here."""

    def on_gates(self, value: torch.Tensor, state: list[torch.Tensor], weights: list[torch.Tensor], site: int) -> None:
        """Of no interest."""

    def on_attention(self, call: AttentionCall, site: int) -> None:
        """Nor what a fused attention gets."""


class _Trial:
    """Forward passes of one program with batch normalisation switched to its running statistics."""

    def __init__(self, subject: Subject, inputs: Mapping[str, torch.Tensor]) -> None:
        self.subject = subject
        self.inputs = inputs
        self.program = subject.program.without_batch_statistics()
        buffers = list(subject.program.buffers.values())
        if sum(each.numel() * each.element_size() for each in buffers) > MAX_RESTORED_BYTES:
            raise UnclearError("Its buffers are too large.")
        self.buffers = [(buffer, buffer.detach().clone()) for buffer in buffers]

    def run(self, inputs: Mapping[str, torch.Tensor], marks: Marks | None = None) -> Outputs:
        """The outputs that the loss reads."""
        arguments = self.program.bind({name: tensor.clone() for name, tensor in inputs.items()}).values()
        randomness.seed(self.subject.seed)
        differentiates = any(ops.of(site.op).kind is Kind.DERIVATIVE for site in self.program.sites)
        try:
            with torch.set_grad_enabled(differentiates):
                output = self.program.run(list(arguments), marks)
                return [tensor.detach() for tensor in self.subject.criterion.read(output)]
        finally:
            with torch.no_grad():
                for buffer, before in self.buffers:
                    buffer.copy_(before)


def sample_leak(
    measurements: Measurements, subject: Subject, read_inputs: Callable[[], dict[str, torch.Tensor]]
) -> tuple[SampleLeak | None, str]:
    """Where one sample's output comes to depend on another sample's input.

    Returns:
        The leak, if there is one; and why nothing could be said, or "".
    """
    if subject.criterion.kind == "model":
        return None, "The model gives its loss, and no output for each sample."
    if any(site.op.startswith("quantized::") for site in measurements.sites):
        return None, "Quantized operations may take their scale from the whole batch."
    inputs = read_inputs()
    raises: tuple[type[Exception], ...] = (*subject.program.raises, AnalysisError)
    try:
        _refuse_unsuited(inputs)
        return _leak(measurements, _Trial(subject, inputs)), ""
    except UnclearError as reason:
        return None, str(reason)
    except raises as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[-1]
        return None, f"The model raised when one sample was changed: {first}"


def _leak(measurements: Measurements, trial: _Trial) -> SampleLeak | None:
    size = _batch_size(trial.inputs)
    changed = _changed(trial.inputs, size, dimension=0)
    if changed is None:
        raise UnclearError("All samples are the same.")
    before = trial.run(trial.inputs)
    if not all(output.dim() and output.shape[0] == size for output in before):
        raise UnclearError("The outputs have no entry for each sample.")
    if any(output.dim() == PAIR and output.shape[1] == size for output in before):
        raise UnclearError("The outputs compare all samples with each other.")
    after = trial.run(changed)
    others, share = _others_changed(before, after, 0)
    if not others:
        return None
    is_ambiguous = any(output.dim() > PAIR for output in before)
    if _is_second_dimension_apart(trial, before):
        raise UnclearError("The second dimension counts the samples, as it seems: they do not mix along it.")
    targets = trial.subject.criterion.targets.values()
    is_aligned = bool(targets) and all(each.dim() and each.shape[0] == size for each in targets)
    mixed = _first_mixed(measurements, trial, changed, size)
    if mixed is None:
        raise UnclearError("Other samples' outputs change, but the place was not found.")
    dimensions = max(tensor.dim() for tensor in trial.inputs.values() if tensor.dim() and tensor.shape[0] == size)
    is_sure = is_aligned and not is_ambiguous
    return SampleLeak(mixed[0], CHANGED_SAMPLE, others, share, dimensions, is_sure=is_sure, reshape=mixed[1])


def _refuse_unsuited(inputs: Mapping[str, torch.Tensor]) -> None:
    """Raises where nothing can be said with these inputs."""
    size = _batch_size(inputs)
    if size < PAIR:
        raise UnclearError("There is one sample.")
    for tensor in inputs.values():
        is_index = not tensor.is_floating_point() and tensor.dim() and tensor.shape[0] != size
        is_square = tensor.dim() == PAIR and tensor.shape[0] == tensor.shape[1] == size
        if is_index or is_square:
            raise UnclearError("An input says which samples belong together.")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UnclearError("An input is not finite.")
    if not any(tensor.dim() and tensor.shape[0] == size for tensor in inputs.values()):
        raise UnclearError("There is no batch.")


def _batch_size(inputs: Mapping[str, torch.Tensor]) -> int:
    return next((tensor.shape[0] for tensor in inputs.values() if tensor.dim()), 0)


def _changed(inputs: Mapping[str, torch.Tensor], size: int, *, dimension: int) -> dict[str, torch.Tensor] | None:
    """The inputs with the first sample replaced by a copy of one that differs; by noise where all are the same."""
    mine = {n: t for n, t in inputs.items() if t.dim() > dimension and t.shape[dimension] == size}
    for other in range(size - 1, 0, -1):
        if any(not torch.equal(t.select(dimension, other), t.select(dimension, 0)) for t in mine.values()):
            swapped = {name: tensor.clone() for name, tensor in inputs.items()}
            for name, tensor in mine.items():
                swapped[name].select(dimension, 0).copy_(tensor.select(dimension, other))
            return swapped
    floating = {name: tensor for name, tensor in mine.items() if tensor.is_floating_point()}
    if not floating:
        return None
    noisy = {name: tensor.clone() for name, tensor in inputs.items()}
    for name, tensor in floating.items():
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(tensor.select(dimension, 0).shape, generator=generator).to(tensor)
        noisy[name].select(dimension, 0).add_(noise * tensor.abs().amax().clamp(min=1e-3))
    return noisy


def _others_changed(before: Outputs, after: Outputs, dimension: int) -> tuple[tuple[int, ...], float]:
    """Which other samples' outputs changed, and by what share of the largest change."""
    found: set[int] = set()
    largest_share = 0.0
    for one, other in zip(before, after, strict=True):
        if one.shape != other.shape:
            raise ValueError("the output has another shape")
        wide = torch.complex128 if one.is_complex() else torch.float64
        moved = torch.nan_to_num((one.to(wide) - other.to(wide)).abs())
        by_sample = moved.movedim(dimension, 0).reshape(one.shape[dimension], -1).amax(1)
        limit = max(CHANGE_SHARE * float(by_sample.max()), OUTPUT_SHARE * float(torch.nan_to_num(one).abs().max()))
        by_sample[CHANGED_SAMPLE] = 0.0
        wrong = (by_sample > limit).nonzero().flatten().tolist()
        found.update(int(sample) for sample in wrong)
        if wrong:
            largest_share = max(largest_share, float(by_sample.max()) / max(float(moved.max()), 1e-300))
    return tuple(sorted(found)), largest_share


def _is_second_dimension_apart(trial: _Trial, before: Outputs) -> bool:
    """Whether entries along the inputs' second dimension stay apart in the output: then that one counts the samples."""
    size = next((tensor.shape[1] for tensor in trial.inputs.values() if tensor.dim() > PAIR), 0)
    kept = [d for d in (0, 1) if all(output.dim() > d and output.shape[d] == size for output in before)]
    changed = _changed(trial.inputs, size, dimension=1) if size >= PAIR and kept else None
    if changed is None:
        return False
    after = trial.run(changed)
    return any(not _others_changed(before, after, dimension)[0] for dimension in kept)


def _first_mixed(
    measurements: Measurements, trial: _Trial, changed: Mapping[str, torch.Tensor], size: int
) -> tuple[int, int | None] | None:
    """The first site before the output in whose values the changed sample has no place of its own.

    Returns:
        The site; and the reshape right before it that took the samples off the first dimension, if there is one.
    """
    one, other = Marks(), Marks()
    trial.run(trial.inputs, one)
    trial.run(changed, other)
    sites = {site.index: site for site in measurements.sites if site.reaches_loss}
    reshapes: dict[int, int] = {}  # for values whose samples are not along the first dimension: what put them there
    for (site, call), sums in one.sums.items():
        theirs = other.sums.get((site, call), [])
        if site not in sites or len(theirs) != len(sums):
            continue
        moved = [_moved(mine, yours) for mine, yours in zip(sums, theirs, strict=True)]
        if not any(bool(each.any()) for each in moved):
            continue
        arranged = next((reshapes[operand] for operand in sites[site].operands if operand in reshapes), None)
        if not any(_has_place(each, size) for each in moved):
            return site, arranged
        if not _has_place(moved[0], size):
            origin = site if op_of(sites[site]).kind is Kind.RESHAPING else arranged
            if origin is not None:
                reshapes[site] = origin
    return None


def _moved(mine: torch.Tensor, yours: torch.Tensor) -> torch.Tensor:
    """Which entries along a dimension changed: flags ``[length]``."""
    if mine.shape != yours.shape:
        return torch.ones(1, dtype=torch.bool)
    return ((mine - yours).abs() > 1e-9 * (mine[1].abs().max() + 1e-30)).any(0)


def _has_place(moved: torch.Tensor, size: int) -> bool:
    """Whether the changes lie where the first of ``size`` samples may have its entries: a block, or every size-th."""
    length = moved.numel()
    if length < size or length % size:
        return False
    by_block, by_step = moved.reshape(size, -1), moved.reshape(-1, size)
    return not bool(by_block[CHANGED_SAMPLE + 1 :].any()) or not bool(by_step[:, CHANGED_SAMPLE + 1 :].any())
