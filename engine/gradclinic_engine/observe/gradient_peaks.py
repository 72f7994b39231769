"""Finds, in a run of its own, the element at which a value's gradient is largest, and the value there."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.measurements import Culprit

if TYPE_CHECKING:
    from gradclinic_engine.front_end import AttentionCall
    from gradclinic_engine.measurements import Measurements

MAX_SITES = 8


@dataclass(slots=True)
class Peaks:
    """A listener that only looks at a few sites.

    Attributes:
        wanted: Their indices.
        found: The largest gradient element of each, with the site's own value there.
        is_backward: As of the recorder.
    """

    wanted: frozenset[int]
    found: dict[int, Culprit] = field(default_factory=dict)
    is_backward: bool = False

    def on_tensor(self, value: torch.Tensor, site: int) -> None:
        """A site gave a tensor."""
        if site in self.wanted and value.requires_grad and value.is_floating_point() and value.numel():
            value.register_hook(partial(self._on_gradient, site, value.detach().clone()))

    def _on_gradient(self, site: int, value: torch.Tensor, gradient: torch.Tensor) -> None:
        if not self.is_backward:
            return
        position = int(gradient.detach().abs().reshape(-1).argmax().item())
        index = (
            tuple(int(i) for i in torch.unravel_index(torch.tensor(position), gradient.shape)) if value.dim() else ()
        )
        peak = Culprit(index, float(gradient[index].item()), (float(value[index].item()),))
        if site not in self.found or abs(peak.value) > abs(self.found[site].value):
            self.found[site] = peak

    def on_list(self, values: list[torch.Tensor], site: int) -> None:
        """A site gave a list of tensors."""
        for value in values:
            self.on_tensor(value, site)

    def on_operands(self, values: list[torch.Tensor], site: int) -> None:
        """What a loss gets is of no interest here."""

    def on_gates(self, value: torch.Tensor, state: list[torch.Tensor], weights: list[torch.Tensor], site: int) -> None:
        """Of no interest."""

    def on_attention(self, call: AttentionCall, site: int) -> None:
        """Nor what a fused attention gets."""

    def on_visit(self, site: int) -> None:
        """Nor that a site ran."""


def with_peaks(measurements: Measurements, peaks: Peaks) -> Measurements:
    """The same with the peaks at their sites."""
    sites = tuple(
        replace(site, gradient_peak=peaks.found[site.index]) if site.index in peaks.found else site
        for site in measurements.sites
    )
    return replace(measurements, sites=sites)
