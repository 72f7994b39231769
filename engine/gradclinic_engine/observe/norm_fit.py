"""How well the running statistics of a BatchNorm in eval mode fit the data that passes it, channel by channel."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Norm
from gradclinic_engine.measurements import NormFit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_engine.graph.sites import StaticSite
    from gradclinic_engine.measurements import Measurements, Site

# With fewer values per channel their deviation says nothing.
FEWEST_VALUES = 8
# A scale as small as that switches a channel off on purpose.
SMALLEST_SCALE = 1e-4


def is_frozen(site: StaticSite) -> bool:
    """Whether it is a batch normalisation that uses running statistics."""
    is_off = site.constants.get("training", site.constants.get("train")) is False
    return is_off and ops.of(site.op).norm is Norm.BATCH


def moments(value: torch.Tensor) -> torch.Tensor | None:
    """Mean and deviation of each channel, ``[2, channels]``, left on the device; None for too few values."""
    if value.dim() < 2 or value.numel() < FEWEST_VALUES * value.shape[1]:  # noqa: PLR2004 - samples and channels
        return None
    deviation, mean = torch.std_mean(value.detach().float(), [d for d in range(value.dim()) if d != 1])
    return torch.stack([mean, deviation])


def with_fits(
    measured: Measurements, seen: Mapping[int, torch.Tensor], parameters: Mapping[str, torch.Tensor]
) -> Measurements:
    """The same with the fit at each frozen normalisation.

    Args:
        measured: The run.
        seen: By site, the moments of its output.
        parameters: Of the model, by name.
    """
    if not seen:
        return measured
    sites = tuple(
        replace(site, norm_fit=_fit(site, seen[site.index], parameters)) if site.index in seen else site
        for site in measured.sites
    )
    return replace(measured, sites=sites)


def _fit(site: Site, seen: torch.Tensor, parameters: Mapping[str, torch.Tensor]) -> NormFit | None:
    mean, deviation = seen.cpu()
    scale, shift = (_argument(site, place, parameters) for place in (1, 2))
    scale = torch.ones_like(mean) if scale is None else scale.abs()
    used = scale > SMALLEST_SCALE
    if not bool(used.any()):
        return None
    offset = (mean - (0.0 if shift is None else shift)).abs()
    return NormFit(float((deviation / scale)[used].median()), float((offset / scale)[used].median()))


def _argument(site: Site, place: int, parameters: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
    held = site.arguments[place] if place < len(site.arguments) else ()
    names = [atom.removeprefix("parameter:") for atom in held if isinstance(atom, str)]
    return parameters[names[0]].detach().float().cpu() if names and names[0] in parameters else None
