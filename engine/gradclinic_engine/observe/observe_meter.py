"""Measures the tensors that pass a run's probes, and none of them twice: autograd hands many gradients on unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.multiprocessing.reductions import StorageWeakRef

from gradclinic_engine.observe import statistics

if TYPE_CHECKING:
    from gradclinic_engine.observe.statistics import Gauge, Row

# All histogram samples of a run together.
SAMPLES_BYTES = 16 * 2**20
# Of more calls than this each second is dropped, and so on: what is left is spread evenly over all of them.
MAX_SAMPLED_CALLS = 4
# A smaller tensor is measured faster than it is looked up.
MIN_KNOWN_ELEMENTS = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """What was measured of some memory. It holds as long as the memory lives and is not written.

    Attributes:
        storage: Does not keep the memory alive.
        version: Grows with each write.
        layout: Equal for tensors at one address that hold the same elements.
    """

    storage: StorageWeakRef
    version: int
    layout: object
    row: Row | torch.Tensor
    samples: list[torch.Tensor]


class Meter:
    """Adds tensors to gauges.

    Attributes:
        is_immediate: Each number is read back at once; else the rows stay on the device.
    """

    def __init__(self, *, is_immediate: bool) -> None:
        self.is_immediate = is_immediate
        self._sampled_gauges_left = SAMPLES_BYTES // (statistics.SAMPLE_ELEMENTS * 4)
        self._known: dict[int, _Known] = {}

    def add(self, gauge: Gauge, value: torch.Tensor) -> Row | None:
        """Adds a tensor; gives its row where that is known at once."""
        is_sampled = self._may_sample(gauge)
        return self._put(gauge, *self._measure(value, is_sampled=is_sampled), is_sampled=is_sampled)

    def add_gradient(self, gauge: Gauge, gradient: torch.Tensor) -> Row | None:
        """The same for a gradient, which may be one that was measured before."""
        if gradient.numel() < MIN_KNOWN_ELEMENTS:
            return self.add(gauge, gradient)
        is_sampled = self._may_sample(gauge)
        address, layout = gradient.data_ptr(), _layout(gradient)
        known = self._known.get(address)
        if (
            known is None
            or known.storage.expired()
            or known.version != gradient._version  # noqa: SLF001  # no public way to it
            or known.layout != layout
            or (is_sampled and not known.samples)
        ):
            row, samples = self._measure(gradient, is_sampled=is_sampled)
            storage = StorageWeakRef(gradient.untyped_storage())
            known = self._known[address] = _Known(storage, gradient._version, layout, row, samples)  # noqa: SLF001
        return self._put(gauge, known.row, known.samples, is_sampled=is_sampled)

    def _measure(self, value: torch.Tensor, *, is_sampled: bool) -> tuple[Row | torch.Tensor, list[torch.Tensor]]:
        samples: list[torch.Tensor] = []
        measure = statistics.measure if self.is_immediate else statistics.measure_on_device
        return measure(value, sample=samples if is_sampled else None), samples

    def _put(
        self, gauge: Gauge, row: Row | torch.Tensor, samples: list[torch.Tensor], *, is_sampled: bool
    ) -> Row | None:
        if is_sampled and samples:
            gauge.samples.append(samples[0] if len(samples) == 1 else torch.cat(samples))
            if len(gauge.samples) > MAX_SAMPLED_CALLS:
                del gauge.samples[1::2]
                gauge.sample_step *= 2
        if isinstance(row, tuple):
            gauge.add(row)
            return row
        gauge.rows.append(row)
        return None

    def _may_sample(self, gauge: Gauge) -> bool:
        place = gauge.offered
        gauge.offered += 1
        if gauge.samples:
            return place % gauge.sample_step == 0
        self._sampled_gauges_left -= 1
        return self._sampled_gauges_left >= 0


def _layout(tensor: torch.Tensor) -> object:
    if tensor.is_contiguous():  # in whatever shape
        return tensor.dtype, tensor.numel()
    return tensor.dtype, tensor.shape, tensor.stride()
