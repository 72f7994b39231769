"""The ways between the parameters and the loss of one run: where gradient flows, is cut off or gets lost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gradclinic_worker.op_kinds import SHAPE_ONLY, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradclinic_worker.measurements import GradientStatus, Measurements, Parameter, Site, Statistics


class Paths:
    """The flow graph of one run: its sites that ran, and who reads whose value.

    A site that only reads a value's shape, such as ``zeros_like``, does not count as its reader.
    """

    def __init__(self, measurements: Measurements) -> None:
        self.sites = {site.index: site for site in measurements.sites if site.calls}
        self.measurements = measurements
        self.lasting = _lasting(measurements)
        self._readers: dict[int, list[int]] = defaultdict(list)
        for site in self.sites.values():
            for operand in self.operands(site):
                self._readers[operand.index].append(site.index)
        self.outputs = frozenset(index for index in measurements.loss.outputs if index in self.sites)
        self._to_loss = self._reach(self.outputs, lambda site: [operand.index for operand in self.operands(site)])

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
        if plain(site.op) in SHAPE_ONLY:
            return []
        return [self.sites[index] for index in site.operands if index in self.sites and index != site.index]

    def readers(self, site: Site) -> list[Site]:
        """The sites that ran and whose values depend directly on that of ``site``."""
        return [self.sites[index] for index in self._readers[site.index]]

    def first_readers(self, parameter: Parameter) -> list[Site]:
        """The sites that ran and read ``parameter`` itself."""
        return [
            self.sites[index]
            for index in parameter.read_by
            if index in self.sites and plain(self.sites[index].op) not in SHAPE_ONLY
        ]

    def reaches_loss(self, site: Site) -> bool:
        """Whether the loss depends on the value of ``site``, differentiably or not."""
        return site.index in self._to_loss

    def upstream(self, *sites: Site) -> frozenset[int]:
        """Indices of ``sites`` and of all that their values depend on."""
        return self._reach(
            (site.index for site in sites), lambda site: [operand.index for operand in self.operands(site)]
        )

    def downstream(self, *sites: Site) -> frozenset[int]:
        """Indices of ``sites`` and of all whose values depend on theirs."""
        return self._reach((site.index for site in sites), lambda site: self._readers[site.index])

    def cuts(self, parameter: Parameter) -> list[Site]:
        """The first op on each way from ``parameter`` to the loss whose result does not require a gradient."""
        return self._frontier(parameter, lambda site: site.requires_grad)

    def blocks(self, parameter: Parameter) -> list[Site]:
        """The first op on each way from ``parameter`` at which a non-zero gradient arrives that it does not hand on."""
        return self._frontier(parameter, lambda site: site.gradient is None or is_all_zero(site))

    def parameters_before(self, site: Site, status: GradientStatus) -> tuple[str, ...]:
        """Names of the parameters of this ``status`` whose value that of ``site`` depends on."""
        return tuple(
            parameter.name
            for parameter in self.measurements.parameters
            if parameter.status is status and parameter.name in site.reached_by
        )

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
        around = self._reach(
            (index for index in self.outputs if index != site.index),
            lambda each: [operand.index for operand in self.operands(each) if operand.index != site.index],
        )
        beside = {name for index in around for name in self.sites[index].parameters if self.sites[index].requires_grad}
        return tuple(
            parameter.name
            for parameter in self.measurements.parameters
            if parameter.requires_grad and parameter.name in site.reached_by and parameter.name not in beside
        )

    def toward_loss(self, site: Site) -> list[Site]:
        """The way from ``site`` to the loss along which most of its gradient comes, ``site`` first."""
        way = [site]
        seen = {site.index}
        while way[-1].index not in self.outputs:
            onward = [
                reader
                for reader in self.readers(way[-1])
                if reader.index not in seen and reader.requires_grad and self.reaches_loss(reader)
            ]
            if not onward:
                break
            way.append(max(onward, key=gradient_norm))
            seen.add(way[-1].index)
        return way

    def _frontier(self, parameter: Parameter, passes: Callable[[Site], bool]) -> list[Site]:
        frontier: dict[int, Site] = {}
        waiting = self.first_readers(parameter)
        seen: set[int] = set()
        while waiting:
            site = waiting.pop()
            if site.index in seen or not self.reaches_loss(site):
                continue
            seen.add(site.index)
            if passes(site):
                waiting.extend(self.readers(site))
            else:
                frontier[site.index] = site
        return [frontier[index] for index in sorted(frontier)]

    def _reach(self, start: Iterable[int], onward: Callable[[Site], list[int]]) -> frozenset[int]:
        seen: set[int] = set()
        waiting = list(start)
        while waiting:
            index = waiting.pop()
            if index not in seen:
                seen.add(index)
                waiting.extend(onward(self.sites[index]))
        return frozenset(seen)


def _lasting(measurements: Measurements) -> dict[str, Statistics]:
    """Statistics of what is there before the run, under the names that `Site.arguments` has for it."""
    found = {f"parameter:{parameter.name}": parameter.weight for parameter in measurements.parameters}
    found |= {f"buffer:{tensor.name}": tensor.statistics for tensor in measurements.buffers}
    return found | {f"input:{tensor.name}": tensor.statistics for tensor in measurements.inputs}


def is_all_zero(site: Site) -> bool:
    """Whether a gradient arrives at ``site`` and all of it is exactly zero."""
    return site.gradient is not None and site.gradient.count > 0 and site.gradient.zeros == site.gradient.count


def gradient_norm(site: Site) -> float:
    """L2 norm of the gradient that arrives at ``site``; 0 where none does.

    A norm, not a mean: a gradient that is spread over a larger tensor has not become weaker.
    """
    return site.gradient.rms * site.gradient.count**0.5 if site.gradient else 0.0
