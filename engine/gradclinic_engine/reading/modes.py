"""In which form and mode an archive was made: traced or scripted, in training or eval mode, frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import CONSTANT, plain
from gradclinic_engine.reading.normalization import BATCH_NORMS

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Site

DROPOUTS = frozenset(
    f"aten::{name}"
    for name in ("dropout", "native_dropout", "alpha_dropout", "feature_dropout", "feature_alpha_dropout")
)
# Layers whose matrix is a parameter in a model that trains.
WEIGHTED = frozenset(
    f"aten::{name}"
    for name in (
        *("linear", "addmm", "conv1d", "conv2d", "conv3d", "_convolution", "convolution"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    )
)


def is_trace(measurements: Measurements) -> bool:
    """Whether it is a trace: that keeps file and line of an operation, a script keeps the line's text too."""
    sources = [site.source for site in measurements.sites if site.source]
    return bool(sources) and not any(source.text for source in sources)


def traced_in_eval_mode(measurements: Measurements) -> bool:
    """Whether it is a trace of a model that was in eval mode as a whole.

    A wrapper may be in training mode around it: then dropout tells, as nobody freezes that alone.
    """
    if not is_trace(measurements):
        return False
    root = next((module for module in measurements.modules if not module.path), None)
    if root is not None and not root.training:
        return True
    flags = [site.constants.get("train") for site in measurements.sites if site.calls and drops(site)]
    norms = [site.constants.get("training") for site in measurements.sites if plain(site.op) in BATCH_NORMS]
    return bool(flags) and not any(flags) and not any(norms)


def drops(site: Site) -> bool:
    """Whether it is a dropout that removes something when it is switched on."""
    probability = site.constants.get("p")
    return plain(site.op) in DROPOUTS and isinstance(probability, (int, float)) and probability > 0


def frozen_layers(measurements: Measurements) -> list[Site]:
    """Layers whose weights are constants in a model without parameters: `torch.jit.freeze` makes such archives."""
    if measurements.parameters:
        return []
    by_index = {site.index: site for site in measurements.sites}
    return [
        site
        for site in measurements.sites
        if site.calls
        and plain(site.op) in WEIGHTED
        and any(_is_matrix(by_index[operand]) for operand in site.operands if operand in by_index)
    ]


def _is_matrix(site: Site) -> bool:
    return site.op == CONSTANT and len(site.shape) > 1 and "float" in site.dtype
