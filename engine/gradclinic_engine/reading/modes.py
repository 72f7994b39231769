"""In which form and mode an archive was made: traced or scripted, in training or eval mode, frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Kind, Norm
from gradclinic_engine.graph.site_ops import is_constant, op_of

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Site


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
    norms = [site.constants.get("training") for site in measurements.sites if op_of(site).norm is Norm.BATCH]
    return bool(flags) and not any(flags) and not any(norms)


def drops(site: Site) -> bool:
    """Whether it is a dropout that removes something when it is switched on."""
    probability = site.constants.get("p")
    return op_of(site).kind is Kind.DROPOUT and isinstance(probability, (int, float)) and probability > 0


def frozen_layers(measurements: Measurements) -> list[Site]:
    """Layers whose weights are constants in a model without parameters: `torch.jit.freeze` makes such archives."""
    if measurements.parameters:
        return []
    by_index = {site.index: site for site in measurements.sites}
    return [
        site
        for site in measurements.sites
        if site.calls
        and _is_weighted(site)
        and any(_is_matrix(by_index[operand]) for operand in site.operands if operand in by_index)
    ]


def _is_weighted(site: Site) -> bool:
    """Whether it is a layer whose matrix is a parameter in a model that trains: such operators take a bias too."""
    op = op_of(site)
    return op.kind in {Kind.PRODUCT, Kind.CONVOLUTION} and op.bias_at is not None


def _is_matrix(site: Site) -> bool:
    return is_constant(site) and len(site.shape) > 1 and "float" in site.dtype
