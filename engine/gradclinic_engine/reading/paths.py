"""The ways between the parameters and the loss of one run: where gradient flows, is cut off or gets lost."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeVar, cast

from gradclinic_engine.graph.site_ops import op_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradclinic_engine.measurements import GradientStatus, Measurements, Parameter, Site, Statistics

_Found = TypeVar("_Found")


class Paths:
    """The flow graph of one run: its sites that ran, and who reads whose value.

    A site that only reads a value's shape, such as ``zeros_like``, does not count as its reader.
    It is built once for a diagnosis and handed on: what functions say `once` about a run is kept here.

    Attributes:
        measurements: The run.
        sites: Those that ran, by index.
        in_order: The same in the order of their first calls.
        lasting: Statistics of what is there before the run, under the names that `Site.arguments` has for it.
        outputs: Indices of the sites that the loss reads.
        parameters: All of them, by name.
        weights: Those of two and more dimensions, by name.
    """

    def __init__(self, measurements: Measurements) -> None:
        self.measurements = measurements
        self.sites = {site.index: site for site in measurements.sites if site.calls}
        self.in_order = sorted(self.sites.values(), key=lambda site: site.first_call_order)
        self.lasting = _lasting(measurements)
        self.outputs = frozenset(index for index in measurements.loss.outputs if index in self.sites)
        self.parameters = {parameter.name: parameter for parameter in measurements.parameters}
        self.weights = {name: parameter for name, parameter in self.parameters.items() if len(parameter.shape) > 1}
        self._by_status: dict[GradientStatus, list[Parameter]] = {}
        for parameter in measurements.parameters:
            self._by_status.setdefault(parameter.status, []).append(parameter)
        self._operands: dict[int, list[Site]] = {}
        self._readers: dict[int, list[Site]] = {}
        for site in self.sites.values():
            if op_of(site).is_shape_only:
                continue
            operands = [self.sites[i] for i in site.operands if i in self.sites and i != site.index]
            self._operands[site.index] = operands
            for operand in operands:
                self._readers.setdefault(operand.index, []).append(site)
        self._to_loss = _reach(self.outputs, self._operands)
        self._onward: dict[int, Site | None] = {}  # the strongest reader of a site, as far as it was asked for
        self._ways: dict[int, tuple[list[Site], int]] = {}  # the way to the loss that a site is on, and its place there
        self._answers: dict[object, object] = {}

    @cached_property
    def with_loss(self) -> Paths:
        """The same with the operations of a loss module behind those of the model; itself where there is none."""
        return Paths(self.measurements.with_loss) if self.measurements.with_loss else self

    def with_status(self, status: GradientStatus) -> Sequence[Parameter]:
        """The parameters of whose gradient this became, in the program's order."""
        return self._by_status.get(status, ())

    def base(self, atom: int | str) -> int | str:
        """What a value is a view of (itself if it is none): a site, or `parameter:NAME` and the like."""
        seen: set[int] = set()
        while isinstance(atom, int) and atom in self.sites and self.sites[atom].is_view and atom not in seen:
            seen.add(atom)
            site = self.sites[atom]
            held = site.arguments[0] if site.arguments else site.operands
            atom = next(iter(held), atom)
        return atom

    def operands(self, site: Site) -> list[Site]:
        """The sites that ran and whose values ``site`` depends on directly."""
        return self._operands.get(site.index, [])

    def readers(self, site: Site) -> list[Site]:
        """The sites that ran and whose values depend directly on that of ``site``."""
        return self._readers.get(site.index, [])

    def once(self, compute: Callable[[Paths], _Found]) -> _Found:
        """What a function says about this run; it is asked once, whoever wants to know."""
        if compute not in self._answers:
            self._answers[compute] = compute(self)
        return cast("_Found", self._answers[compute])

    def first_readers(self, parameter: Parameter) -> list[Site]:
        """The sites that ran and read ``parameter`` itself."""
        return [
            self.sites[index]
            for index in parameter.read_by
            if index in self.sites and not op_of(self.sites[index]).is_shape_only
        ]

    def reaches_loss(self, site: Site) -> bool:
        """Whether the loss depends on the value of ``site``, differentiably or not."""
        return site.index in self._to_loss

    def upstream(self, *sites: Site) -> frozenset[int]:
        """Indices of ``sites`` and of all that their values depend on."""
        return _reach((site.index for site in sites), self._operands)

    def downstream(self, *sites: Site) -> frozenset[int]:
        """Indices of ``sites`` and of all whose values depend on theirs."""
        return _reach((site.index for site in sites), self._readers)

    def cuts(self, parameter: Parameter) -> list[Site]:
        """The first op on each way from ``parameter`` to the loss whose result does not require a gradient."""
        return self._frontier(parameter, self.once(_cuts))

    def blocks(self, parameter: Parameter) -> list[Site]:
        """The first op on each way from ``parameter`` at which a non-zero gradient arrives that it does not hand on."""
        return self._frontier(parameter, self.once(_blocks))

    def parameters_before(self, site: Site, status: GradientStatus) -> tuple[str, ...]:
        """Names of the parameters of this ``status`` whose value that of ``site`` depends on."""
        return tuple(each.name for each in self.with_status(status) if each.name in site.reached_by)

    def feeding_parameters(self, site: Site) -> tuple[str, ...]:
        """Names of the parameters of the layer (or layers) right before ``site``."""
        names: list[str] = []
        waiting = [site]
        seen: set[int] = set()
        while waiting:
            current = waiting.pop()
            if current.index in seen:
                continue
            seen.add(current.index)
            names.extend(name for name in current.parameters if name not in names)
            if not any(operand.parameters for operand in self.operands(current)) and current.parameters:
                continue
            waiting.extend(operand for operand in self.operands(current) if not current.parameters or operand.is_view)
        return tuple(names)

    def parameters_only_through(self, site: Site) -> tuple[str, ...]:
        """Names of the trainable parameters all of whose ways to the loss lead through ``site``."""
        around = _reach((i for i in self.outputs if i != site.index), self._operands, without=site.index)
        beside = {name for index in around for name in self.sites[index].parameters if self.sites[index].requires_grad}
        return tuple(
            parameter.name
            for parameter in self.measurements.parameters
            if parameter.requires_grad and parameter.name in site.reached_by and parameter.name not in beside
        )

    def toward_loss(self, site: Site) -> list[Site]:
        """The way from ``site`` to the loss along which most of its gradient comes, ``site`` first."""
        ways = self._ways
        way: list[Site] = []
        at: Site | None = site
        passed: set[int] = set()
        while at is not None and at.index not in ways:
            if at.index in passed:
                return self._toward_loss_in_loops(site)
            passed.add(at.index)
            way.append(at)
            at = self.onward(at)
        new = len(way)
        if at is not None:
            known, place = ways[at.index]
            way += known[place:]
        ways.update((each.index, (way, place)) for place, each in enumerate(way[:new]))
        return way

    def _toward_loss_in_loops(self, site: Site) -> list[Site]:
        way = [site]
        seen = {site.index}
        while way[-1].index not in self.outputs:
            onward = self.onward(way[-1])
            if onward is not None and onward.index in seen:  # round a loop
                onward = self._strongest(way[-1], seen)
            if onward is None:
                break
            way.append(onward)
            seen.add(onward.index)
        return way

    def onward(self, site: Site) -> Site | None:
        """The reader from which most of a site's gradient comes; None at the loss."""
        if site.index in self.outputs:
            return None
        if site.index not in self._onward:
            self._onward[site.index] = self._strongest(site, {site.index})
        return self._onward[site.index]

    def _strongest(self, site: Site, seen: set[int]) -> Site | None:
        readers = [
            reader
            for reader in self.readers(site)
            if reader.index not in seen and reader.requires_grad and self.reaches_loss(reader)
        ]
        return max(readers, key=gradient_norm) if len(readers) > 1 else next(iter(readers), None)

    def _frontier(self, parameter: Parameter, ends: Mapping[int, set[int]]) -> list[Site]:
        found: set[int] = set().union(*(ends.get(site.index, ()) for site in self.first_readers(parameter)))
        return [self.sites[index] for index in sorted(found)]


def _cuts(paths: Paths) -> dict[int, set[int]]:
    return _ends(paths, lambda site: site.requires_grad)


def _blocks(paths: Paths) -> dict[int, set[int]]:
    return _ends(paths, lambda site: site.gradient is None or is_all_zero(site))


def _ends(paths: Paths, passes: Callable[[Site], bool]) -> dict[int, set[int]]:
    """For each site the first ones on its ways to the loss, itself included, that let nothing pass."""
    passing = {index for index, site in paths.sites.items() if passes(site)}
    found: dict[int, set[int]] = {}
    for end, site in paths.sites.items():
        if end in passing or not paths.reaches_loss(site):
            continue
        found.setdefault(end, set()).add(end)
        waiting = paths.operands(site)[:]
        while waiting:
            before = waiting.pop()
            if before.index in passing and end not in (known := found.setdefault(before.index, set())):
                known.add(end)
                waiting += paths.operands(before)
    return found


def _reach(start: Iterable[int], onward: Mapping[int, list[Site]], *, without: int | None = None) -> frozenset[int]:
    """The indices that one gets to, those of the start included, never through one of them."""
    seen: set[int] = set()
    waiting = list(start)
    while waiting:
        index = waiting.pop()
        if index not in seen:
            seen.add(index)
            waiting += [site.index for site in onward.get(index, ()) if site.index != without]
    return frozenset(seen)


def _lasting(measurements: Measurements) -> dict[str, Statistics]:
    """Statistics of what is there before the run, under the names that `Site.arguments` has for it."""
    found = {f"parameter:{parameter.name}": parameter.weight for parameter in measurements.parameters}
    found |= {f"buffer:{tensor.name}": tensor.statistics for tensor in measurements.buffers}
    return found | {f"input:{tensor.name}": tensor.statistics for tensor in measurements.inputs}


def is_all_zero(site: Site) -> bool:
    """Whether a gradient arrives at ``site`` and all of it is exactly zero."""
    return (
        site.gradient is not None
        and site.gradient.element_count > 0
        and site.gradient.zero_count == site.gradient.element_count
    )


def gradient_norm(site: Site) -> float:
    """L2 norm of the gradient that arrives at ``site``; 0 where none does.

    A norm, not a mean: a gradient that is spread over a larger tensor has not become weaker.
    """
    return site.gradient.rms * site.gradient.element_count**0.5 if site.gradient else 0.0
