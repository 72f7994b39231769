"""Layers that multiply by a trained weight, and which follow one another with nothing nonlinear between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.graph.op_kinds import CONSTANT, plain

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Parameter, Site
    from gradclinic_engine.reading.paths import Paths

CONVOLUTIONS = frozenset(f"aten::{name}" for name in ("conv1d", "conv2d", "conv3d", "_convolution", "convolution"))
# The weight is stored as [out, in] (linear, convolutions) or as [in, out].
OUT_FIRST = CONVOLUTIONS | {"aten::linear"}
IN_FIRST = frozenset({"aten::matmul", "aten::mm", "aten::addmm"})
MULTIPLYING = OUT_FIRST | IN_FIRST
# They hand on the same numbers in another arrangement, or each multiplied by a number.
ARRANGING = frozenset(
    f"aten::{name}"
    for name in (
        *("view", "reshape", "flatten", "unflatten", "transpose", "permute", "t", "contiguous", "squeeze", "unsqueeze"),
        *("to", "alias", "dropout", "feature_dropout", "clone", "detach_copy"),
    )
)
SCALING = frozenset({"aten::mul", "aten::div", "aten::add", "aten::sub"})


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
        if plain(site.op) not in MULTIPLYING:
            continue
        held = [paths.base(atom) for argument in site.arguments for atom in argument]
        names = [atom.removeprefix("parameter:") for atom in held if isinstance(atom, str)]
        known = [weights[name] for name in names if name in weights]
        if len(known) == 1 and known[0].requires_grad and (layer := _layer(site, known[0])):
            found[site.index] = layer
    return found


def _layer(site: Site, weight: Parameter) -> Layer | None:
    shape = weight.shape
    elements = 1
    for length in shape:
        elements *= length
    if not elements or site.constants.get("transposed") is True:
        return None
    if plain(site.op) in OUT_FIRST:
        return Layer(site, weight, elements // shape[0], shape[0], shape[2:])
    if plain(site.op) in IN_FIRST:
        return Layer(site, weight, shape[-2], shape[-1])
    return None


def chained(paths: Paths, known: dict[int, Layer], layer: Layer) -> Layer | None:
    """The layer whose output ``layer`` multiplies without anything nonlinear between, None if there is none."""
    site = layer.site
    while True:
        value = _carried(paths, site)
        if value is None or len(paths.readers(value)) != 1 or value.calls != layer.site.calls:
            return None
        if value.index in known:
            return known[value.index]
        if value.parameters and plain(value.op) not in SCALING:
            return None
        site = value
        if not (value.is_view or plain(value.op) in ARRANGING or _scales(paths, value)):
            return None


def _carried(paths: Paths, site: Site) -> Site | None:
    """The one computed value that it reads, None where there are several."""
    computed = [operand for operand in paths.operands(site) if operand.reached_by and not _is_parameter(paths, operand)]
    others = [operand for operand in paths.operands(site) if not operand.reached_by and not _is_number(operand)]
    return computed[0] if len(computed) == 1 and not others else None


def _is_number(site: Site) -> bool:
    """Whether it is a constant that scales or shifts; one of zeros closes the way."""
    return site.op == CONSTANT and site.activation is not None and site.activation.rms > 0


def _is_parameter(paths: Paths, site: Site) -> bool:
    base = paths.base(site.index)
    return isinstance(base, str) and base.startswith("parameter:")


def _scales(paths: Paths, site: Site) -> bool:
    """Whether it multiplies by, or adds, something that does not depend on the sample."""
    return plain(site.op) in SCALING and not site.inputs and _carried(paths, site) is not None
