"""How rules read a loss: where it stands, where its target comes from, and what gave its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradclinic_engine.measurements import LossTerm, Parameter, Site, Target, Tensor
    from gradclinic_engine.reading.paths import Paths

MAX_STEPS = 64


def relevant(paths: Paths) -> Iterator[LossTerm]:
    """The calls of loss functions that are (part of) the loss of this run."""
    for term in paths.measurements.terms:
        site = paths.sites.get(term.site)
        if term.site < 0 or term.error or (site is not None and paths.reaches_loss(site)):
            yield term


def name_of_target(paths: Paths, target: Target) -> str:
    """`target`, or the one input of the model that it is made of."""
    inputs = {source for source in _data_behind(paths, target) if source.startswith("input:")}
    return inputs.pop() if len(inputs) == 1 else "target"


def comes_from_data(paths: Paths, target: Target) -> bool:
    """Whether the target was sent, and is not made by the model's own code, as the ones of a GAN are."""
    return bool(_data_behind(paths, target))


def _data_behind(paths: Paths, target: Target) -> set[str]:
    """The targets and inputs that were sent and that a target is made of, without any part of the model."""
    found: set[str] = set()
    for each in origins(paths, target.given_by):
        if isinstance(each, str):
            found.add(each)
        elif not each.reached_by:
            found |= {f"input:{name}" for index in paths.upstream(each) for name in _values_read(paths.sites[index])}
    return {source for source in found if source.startswith(("target:", "input:"))}


def _values_read(site: Site) -> tuple[str, ...]:
    return () if op_of(site).is_shape_only else site.inputs


def output_of(paths: Paths, term: LossTerm) -> Site | None:
    """The operation that computed the prediction, behind all that only hands it on; None where it is not clear."""
    found = [
        origin
        for origin in origins(paths, term.prediction.given_by)
        if not isinstance(origin, str) and (origin.reached_by or origin.requires_grad)
    ]
    return found[0] if len(found) == 1 else None


def origin(paths: Paths, site: Site) -> Site | None:
    """The operation behind all that only hands on its value."""
    found = [each for each in origins(paths, (site.index,)) if not isinstance(each, str)]
    return found[0] if len(found) == 1 else None


def origins(paths: Paths, given_by: Iterable[int | str]) -> Iterator[Site | str]:
    """Where values come from, looking through operations that only hand them on: sites and named sources."""
    waiting = list(given_by)
    seen: set[int | str] = set()
    while waiting and len(seen) < MAX_STEPS:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        if isinstance(each, str):
            yield each
            continue
        site = paths.sites.get(each)
        if site is None:
            continue
        if op_of(site).hands_on and site.arguments:
            # Of what moves or casts only the first argument is the value.
            waiting.extend(site.arguments[0])
        elif op_of(site).hands_on:
            waiting.extend([*site.operands, *(f"input:{name}" for name in site.inputs)])
        else:
            yield site


def shape_of(paths: Paths, source: int | str) -> tuple[int, ...] | None:
    """The shape of what a site or a named source gave; None where it is not known."""
    if isinstance(source, int):
        site = paths.sites.get(source)
        return site.shape if site is not None else None
    return paths.once(_named_shapes).get(source)


def _named_shapes(paths: Paths) -> dict[str, tuple[int, ...]]:
    measured = paths.measurements
    named: dict[str, Sequence[Tensor | Parameter]] = {
        "target": measured.target,
        "input": measured.inputs,
        "buffer": measured.buffers,
        "parameter": measured.parameters,
    }
    return {f"{kind}:{each.name}": each.shape for kind, group in named.items() for each in group}
