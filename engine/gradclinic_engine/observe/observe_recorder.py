"""Listens to the probes of one run and keeps what they saw, site by site."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.loss_ops import loss_options
from gradclinic_engine.measurements import Culprit
from gradclinic_engine.observe import norm_fit, statistics
from gradclinic_engine.observe.attention_softness import softness
from gradclinic_engine.observe.hidden_gates import GatedCall, flat_counts
from gradclinic_engine.observe.loss_calls import LossCall
from gradclinic_engine.observe.observe_meter import MAX_SAMPLED_CALLS, Meter
from gradclinic_engine.observe.statistics import Gauge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.front_end import AttentionCall, Program
    from gradclinic_engine.graph.sites import StaticSite

# Gradients of single calls are kept for at most this many calls of a site.
MAX_CALLS_KEPT = 1_000


@dataclass(slots=True, eq=False)
class Tally:
    """What one site showed so far; fields as in `measurements.Site`."""

    calls: int = 0
    first_call_order: int = -1
    shape: torch.Size | tuple[int, ...] = ()
    dtype: torch.dtype | None = None
    is_view: bool = False
    requires_grad: bool = False
    grad_enabled: bool = True
    activation: Gauge | None = None
    gradient: Gauge | None = None
    gradient_order: int = -1
    gradient_by_call: list[tuple[int, statistics.Row | torch.Tensor]] = field(default_factory=list)
    flat: float | torch.Tensor = 0.0
    alive: torch.Tensor | None = None  # [units], True where a unit was on for any sample
    nonfinite_order: int = -1
    operands_finite: bool = True
    culprit: Culprit | None = None
    gradient_culprit: Culprit | None = None
    channels: torch.Tensor | None = None  # of a BatchNorm in eval mode: mean and deviation, ``[2, channels]``
    softness: list[torch.Tensor] = field(default_factory=list)  # of a fused attention: sum and number, each ``[2]``
    gates: list[torch.Tensor] = field(default_factory=list)  # see `hidden_gates.flat_counts`
    storage: int = 0  # address of the memory of the latest value
    is_finite: bool = True  # the latest value
    unseen: str = ""  # why there are no statistics, where there should be


class Recorder:
    """One run's listener.

    Attributes:
        tallies: One per site.
        is_immediate: Each number is read back at once. Without it nothing waits
            for the device, and what depends on order or place is not known.
        loss_calls: The first call of each operator that is a loss, by site.
        loss_running: The loss that has begun and not returned.
        is_backward: The backward pass has begun; gradients before it are of a `torch.autograd.grad` within forward.
    """

    def __init__(
        self,
        program: Program,
        lasting: Iterable[tuple[int, torch.Tensor]],
        *,
        is_immediate: bool,
        kept_operands: frozenset[int] = frozenset(),
    ) -> None:
        """Prepares to listen.

        Args:
            program: What will run.
            lasting: Parameters, buffers and inputs by atom.
            is_immediate: See above.
            kept_operands: Sites whose operands' values are wanted where it first gave something non-finite.
        """
        self.tallies = [Tally() for _ in program.sites]
        self.is_immediate = is_immediate
        self.is_backward = False
        self.loss_calls: dict[int, LossCall] = {}
        self.loss_running: LossCall | None = None
        self._sites = program.sites
        self._order = 0
        self._gradient_order = 0
        self._lasting = dict(lasting)
        self._storages = {atom: _storage(tensor) for atom, tensor in self._lasting.items()}
        self._sick_sources: set[int] = set()
        self._meter = Meter(is_immediate=is_immediate)
        self._kept = kept_operands
        self._latest = {atom: torch.empty(0) for site in kept_operands for atom in program.sites[site].operands}

    def declare_nonfinite(self, atom: int) -> None:
        """A parameter, buffer or input holds something non-finite."""
        self._sick_sources.add(atom)

    def on_visit(self, site: int) -> None:
        """A site ran, and gave no tensor."""
        self._count(self.tallies[site])

    def on_operands(self, values: list[torch.Tensor], site: int) -> None:
        """A loss is about to run on a prediction and its targets."""
        known = self._sites[site]
        loss = ops.of(known.op)
        prediction, *targets = (value.detach() for value in values)
        named = dict(zip(loss.targets, targets, strict=True))
        self.loss_running = LossCall(loss.loss, site, loss_options(known.constants), prediction, named)

    def on_attention(self, call: AttentionCall, site: int) -> None:
        """A fused attention is about to run: how far its weights are from one-hot is told from query and key."""
        if len(self.tallies[site].softness) < MAX_SAMPLED_CALLS:
            seen = softness(call.query, call.key, call.mask, is_causal=call.is_causal, scale=call.scale)
            if seen is not None:
                self.tallies[site].softness.append(seen)

    def on_gates(self, value: torch.Tensor, state: list[torch.Tensor], weights: list[torch.Tensor], site: int) -> None:
        """An operator with hidden gates is about to run: how many of them are flat is computed from what it reads."""
        if len(self.tallies[site].gates) < MAX_SAMPLED_CALLS:
            known = self._sites[site]
            seen = flat_counts(GatedCall(known.op, known.constants, value, state, weights))
            if seen is not None:
                self.tallies[site].gates.append(seen)

    def on_tensor(self, value: torch.Tensor, site: int) -> None:
        """A site gave a tensor."""
        if self.loss_running is not None and self.loss_running.site == site:
            if site not in self.loss_calls:
                self.loss_running.has_returned()
                self.loss_calls[site] = self.loss_running
            self.loss_running = None
        self._count(self.tallies[site])
        self._look(value, site)

    def on_list(self, values: list[torch.Tensor], site: int) -> None:
        """A site gave a list of tensors: they count as one value, its shape is that of the last."""
        self._count(self.tallies[site])
        for value in values:
            self._look(value, site)

    def _look(self, value: torch.Tensor, site: int) -> None:
        tally, known = self.tallies[site], self._sites[site]
        tally.shape, tally.dtype = value.shape, value.dtype
        if not torch.is_grad_enabled():
            tally.grad_enabled = False
        requires_grad = value.requires_grad
        if requires_grad:
            tally.requires_grad = True
        if value.layout is not torch.strided:
            tally.unseen = f"Its values are stored as {value.layout}, which is not measured."
            return
        tally.storage = _storage(value)
        if known.may_alias and self._is_alias(tally.storage, known):
            tally.is_view = True
            tally.is_finite = self._operands_finite(known)
        elif value.is_floating_point():
            tally.is_view = False
            self._measure(value, tally, known)
            if requires_grad:
                self._hook(value, site, tally, known)
        elif value.is_complex():
            tally.unseen = "Its values are complex numbers, which are not measured."
        if value.is_quantized or known.op.startswith("quantized::"):
            tally.unseen = "It is quantized, and has no gradient: diagnose the model as it was before."
        if site in self._latest:
            self._latest[site] = value.detach().clone()

    def _count(self, tally: Tally) -> None:
        if not tally.calls:
            tally.first_call_order = self._order
        tally.calls += 1
        self._order += 1

    def _measure(self, value: torch.Tensor, tally: Tally, known: StaticSite) -> None:
        if tally.activation is None:
            tally.activation = Gauge()
        row = self._meter.add(tally.activation, value)
        if tally.channels is None and norm_fit.is_frozen(known):
            tally.channels = norm_fit.moments(value)
        if known.off_margin is not None and value.dim():
            self._note_units(value, tally, known, known.off_margin)
        if known.span is not None:
            self._note_flat(value, tally, known, row)
        if row is not None:
            tally.is_finite = row[1] == 0
            if row[1] and tally.nonfinite_order < 0:
                self._note_nonfinite(value, tally, known)

    def _note_nonfinite(self, value: torch.Tensor, tally: Tally, known: StaticSite) -> None:
        tally.nonfinite_order = self._order - 1
        tally.operands_finite = self._operands_finite(known)
        found = statistics.first_nonfinite(value)
        if found is not None:
            index, number = found
            tally.culprit = Culprit(index, number, self._operand_values(known, index, value.shape))

    def _operand_values(self, known: StaticSite, index: tuple[int, ...], shape: torch.Size) -> tuple[float, ...]:
        """The operands' values at an index of the output, where they have (or broadcast to) its shape."""
        if known.index not in self._kept:
            return ()
        values = []
        for atom in known.reads:
            operand = self._latest.get(atom) if atom >= 0 else self._lasting.get(atom)
            if operand is None or operand.numel() == 0 or operand.is_complex():
                continue
            try:
                values.append(float(operand.detach().expand(shape)[index].item()))
            except RuntimeError:  # it has another shape
                continue
        return tuple(values)

    def _note_units(self, value: torch.Tensor, tally: Tally, known: StaticSite, margin: float) -> None:
        # One number per sample is one unit.
        value = value.detach().unsqueeze(1) if value.dim() == 1 else value.detach()
        unit_dimension = unit_dimension_of(value.dim(), channels_first=known.channels_first)
        units = value.shape[unit_dimension]
        if tally.alive is None or tally.alive.numel() != units:
            tally.alive = torch.zeros(units, dtype=torch.bool, device=value.device)
        if not value.numel():
            return
        # A few samples mostly show that all units live; the whole batch is read only for the rest.
        step = 1 if unit_dimension != 0 and self.is_immediate else max(1, value.shape[0])
        start = 0
        while start < value.shape[0]:
            if self.is_immediate and bool(tally.alive.all()):
                return
            part = value.narrow(0, start, min(step, value.shape[0] - start))
            others = [each for each in range(value.dim()) if each != unit_dimension % value.dim()]
            tally.alive |= (part.amax(others) if others else part) > 0
            if margin:
                tally.alive |= (part.amin(others) if others else part) < -margin
            start += step
            step *= 2

    def _note_flat(self, value: torch.Tensor, tally: Tally, known: StaticSite, row: statistics.Row | None) -> None:
        span = known.span
        if span is None or (row is not None and span.low < row[5] and row[6] < span.high and not row[1]):
            return
        for piece in statistics.pieces(value):
            outside = (piece <= span.low) | (piece >= span.high)
            if self.is_immediate and not outside.is_cuda:
                tally.flat = tally.flat + int(np.count_nonzero(outside.numpy()))
            else:
                tally.flat = tally.flat + torch.count_nonzero(outside).double()

    def _hook(self, value: torch.Tensor, site: int, tally: Tally, known: StaticSite) -> None:
        if tally.gradient is None:
            tally.gradient = Gauge()
        # What was written into a view goes on as part of the whole.
        whole = value._base if known.is_write and value._is_view() else value  # noqa: SLF001  # no public way to the base
        target = whole if whole is not None and whole.requires_grad else value
        target.register_hook(partial(self._on_gradient, site, tally.calls))

    def _on_gradient(self, site: int, call: int, gradient: torch.Tensor | None) -> None:
        if gradient is None or not self.is_backward:  # None: autograd knows that nothing flows here
            return
        tally = self.tallies[site]
        if tally.gradient_order < 0:
            tally.gradient_order = self._gradient_order
            self._gradient_order += 1
        if tally.gradient is None or gradient.layout is not torch.strided:
            return
        row = self._meter.add_gradient(tally.gradient, gradient)
        if row is not None and row[1] and tally.gradient_culprit is None:
            found = statistics.first_nonfinite(gradient)
            tally.gradient_culprit = Culprit(*found) if found is not None else None
        if tally.calls > 1 and len(tally.gradient_by_call) < MAX_CALLS_KEPT:
            tally.gradient_by_call.append((call, row if row is not None else tally.gradient.rows[-1]))

    def _is_alias(self, storage: int, known: StaticSite) -> bool:
        return any(
            storage == (self.tallies[atom].storage if atom >= 0 else self._storages.get(atom)) for atom in known.reads
        )

    def _operands_finite(self, known: StaticSite) -> bool:
        return all(
            self.tallies[atom].is_finite if atom >= 0 else atom not in self._sick_sources for atom in known.reads
        )


def unit_dimension_of(dimensions: int, *, channels_first: bool) -> int:
    """Which dimension of an activation counts its units: channels for images, else features."""
    return 1 if dimensions > 3 or (dimensions == 3 and channels_first) else -1  # noqa: PLR2004  # dimensions


def call_rms(calls: list[tuple[int, statistics.Row | torch.Tensor]]) -> tuple[float, ...]:
    """RMS of the finite elements of each call's gradient, oldest call first."""
    found = []
    for _, row in sorted(calls, key=lambda each: each[0]):
        numbers = row.tolist() if isinstance(row, torch.Tensor) else row
        finite = numbers[0] - numbers[1]
        found.append(math.sqrt(numbers[4] / finite) if finite else math.nan)
    return tuple(found)


def _storage(value: torch.Tensor) -> int:
    """Address of a strided tensor's memory; 0 for an empty one."""
    return value.untyped_storage().data_ptr() if value.layout is torch.strided else 0
