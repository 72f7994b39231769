"""Layers that multiply by a trained weight, and which follow one another with nothing nonlinear between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op import Formula, Kind, Weight
from gradclinic_engine.graph.site_ops import is_constant, op_of

if TYPE_CHECKING:
    from gradclinic_engine.graph.op import Op
    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

_SCALING = frozenset({Formula.MULTIPLY, Formula.DIVIDE, Formula.ADD, Formula.SUBTRACT})
_FACTORS = 2  # a value and a weight


@dataclass(frozen=True, slots=True)
class Layer:
    """A site that multiplies by one trainable weight.

    Attributes:
        inputs: Number of values that go into one of its outputs.
        features: Number of its outputs per position.
        kernel: Of a convolution, else ().
    """

    site: Site
    weight: Parameter
    inputs: int
    features: int
    kernel: tuple[int, ...] = ()


def layers(paths: Paths) -> dict[int, Layer]:
    """The layers that ran, by site, in the order of the program."""
    return paths.once(_layers)


def _layers(paths: Paths) -> dict[int, Layer]:
    weights = paths.weights
    found: dict[int, Layer] = {}
    for site in paths.sites.values():
        if not _multiplies(op_of(site)):
            continue
        held = [paths.base(atom) for argument in site.arguments for atom in argument]
        names = [atom.removeprefix("parameter:") for atom in held if isinstance(atom, str)]
        known = [weights[name] for name in names if name in weights]
        if len(known) == 1 and known[0].requires_grad and (layer := _layer(site, known[0])):
            found[site.index] = layer
    return found


def _multiplies(op: Op) -> bool:
    """Whether it is the product of a value and a weight."""
    is_layer = op.weight is Weight.OUT_FIRST and op.factors is not None and len(op.factors) == _FACTORS
    return is_layer or op.weight is Weight.FACTOR


def _arranges(op: Op) -> bool:
    """Whether it hands on the same numbers in another arrangement, or each multiplied by a number."""
    return op.keeps_all or op.kind is Kind.DROPOUT


def _layer(site: Site, weight: Parameter) -> Layer | None:
    shape = weight.shape
    elements = 1
    for length in shape:
        elements *= length
    if not elements or site.constants.get("transposed") is True:
        return None
    if op_of(site).weight is Weight.OUT_FIRST:
        return Layer(site, weight, elements // shape[0], shape[0], shape[2:])
    return Layer(site, weight, shape[-2], shape[-1])


def chained(paths: Paths, known: dict[int, Layer], layer: Layer) -> Layer | None:
    """The layer whose output ``layer`` multiplies without anything nonlinear between, None if there is none."""
    site = layer.site
    while True:
        value = _carried(paths, site)
        if value is None or len(paths.readers(value)) != 1 or value.calls != layer.site.calls:
            return None
        if value.index in known:
            return known[value.index]
        if value.parameters and op_of(value).formula not in _SCALING:
            return None
        site = value
        if not (value.is_view or _arranges(op_of(value)) or _scales(paths, value)):
            return None


def _carried(paths: Paths, site: Site) -> Site | None:
    """The one computed value that it reads, None where there are several."""
    computed = [operand for operand in paths.operands(site) if operand.reached_by and not _is_parameter(paths, operand)]
    others = [operand for operand in paths.operands(site) if not operand.reached_by and not _is_number(operand)]
    return computed[0] if len(computed) == 1 and not others else None


def _is_number(site: Site) -> bool:
    """Whether it is a constant that scales or shifts; one of zeros closes the way."""
    return is_constant(site) and site.activation is not None and site.activation.rms > 0


def _is_parameter(paths: Paths, site: Site) -> bool:
    base = paths.base(site.index)
    return isinstance(base, str) and base.startswith("parameter:")


def _scales(paths: Paths, site: Site) -> bool:
    """Whether it multiplies by, or adds, something that does not depend on the sample."""
    return op_of(site).formula in _SCALING and not site.inputs and _carried(paths, site) is not None
