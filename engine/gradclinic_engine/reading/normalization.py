"""Batch normalisations of a run: which ran in which mode, over how many values, and whether their statistics fit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Norm
from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import Measurements, Site, Tensor
    from gradclinic_engine.reading.paths import Paths

_OF_A_SAMPLE = frozenset({Norm.INSTANCE, Norm.GROUP})
LEAST_SPREAD = 1e-6


def batch_norms(measurements: Measurements) -> Iterator[Site]:
    """The batch normalisations that ran, first outputs only."""
    for site in measurements.sites:
        if op_of(site).norm is Norm.BATCH and site.calls and not site.output:
            yield site


def unfinished_batch_norm(measurements: Measurements) -> Site | None:
    """The batch normalisation that comes next where forward raised."""
    return _unfinished(measurements, frozenset({Norm.BATCH}))


def unfinished_normalization_of_a_sample(measurements: Measurements) -> Site | None:
    """The instance or group normalisation that comes next where forward raised."""
    return _unfinished(measurements, _OF_A_SAMPLE)


def _unfinished(measurements: Measurements, norms: frozenset[Norm]) -> Site | None:
    """The first site of these that did not run while what it reads did."""
    ran = {site.index for site in measurements.sites if site.calls}
    for site in measurements.sites:
        if op_of(site).norm in norms and not site.calls and (ran.issuperset(site.operands) or site.inputs):
            return site
    return None


def is_training(site: Site) -> bool:
    """Whether it took the statistics of the batch."""
    return site.constants.get("training", site.constants.get("train")) is True


def values_per_channel(site: Site) -> int:
    """From how many values it computed each channel's statistics; 0 where that is not known."""
    return math.prod(site.shape) // site.shape[1] if len(site.shape) > 1 and site.shape[1] else 0


def running_statistics(paths: Paths, site: Site) -> tuple[Tensor, Tensor] | None:
    """Running mean and variance that it read, in this order."""
    by_name = paths.once(_buffers)
    read = [by_name[name] for name in site.buffers if name in by_name and "float" in by_name[name].dtype]
    return (read[0], read[1]) if len(read) == 2 else None  # noqa: PLR2004 - mean and variance


def _buffers(paths: Paths) -> dict[str, Tensor]:
    return {buffer.name: buffer for buffer in paths.measurements.buffers}


def are_fresh(statistics: tuple[Tensor, Tensor]) -> bool:
    """Whether running statistics are as a new module has them: mean 0, variance 1."""
    mean, variance = (each.statistics for each in statistics)
    return mean.min == mean.max == 0 and variance.min == variance.max == 1


def misfit(site: Site) -> float:
    """By what factor its output is too wide, too narrow or too far off centre; 1 where nothing can be said.

    An output without any spread tells of its input, not of the statistics.
    """
    fit = site.norm_fit
    if fit is None or not math.isfinite(fit.spread + fit.offset):
        return 1.0
    narrow = 1 / fit.spread if fit.spread > LEAST_SPREAD else 1.0
    return max(fit.spread, narrow, fit.offset)
