"""The static half of a program: its operations, and where their operands come from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from gradclinic_engine.graph.op import Span
    from gradclinic_engine.measurements import SourceLine


@dataclass(frozen=True, slots=True)
class StaticSite:
    """The static half of a site; fields as in `measurements.Site` where the names agree.

    Attributes:
        form: `tensor`, `optional`, `list`, `optional list` or `scalar`.
        output: Which output of its operation this is.
        is_write: The op writes into its argument.
        may_alias: The op may hand back memory of an argument.
        reads: Atoms that it reads: sites and, negative, sources.
        span: The outputs outside the flat region, for saturating ops.
        off_margin: For ops that switch units off, as ReLU does: how far below zero such a unit's outputs may lie.
        acts_as: The operator that this one amounts to together with those before it; "" where it is just itself.
        channels_first: Its units are along dimension 1 also in three dimensions.
        arguments: Atoms that each argument of the op holds, by position; empty for what is no tensor.
    """

    index: int
    op: str
    module: str
    source: SourceLine | None
    operands: tuple[int, ...]
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    inputs: tuple[str, ...]
    reached_by: AbstractSet[str]
    constants: dict[str, object]
    form: str
    output: int
    is_write: bool
    may_alias: bool
    reads: tuple[int, ...]
    span: Span | None
    off_margin: float | None
    acts_as: str
    channels_first: bool
    arguments: tuple[tuple[int, ...], ...]


@dataclass(slots=True)
class Sources:
    """The parameters, buffers and inputs, each with its atom: -1, -2, ..."""

    names: list[tuple[str, str]] = field(default_factory=list)  # kind ("parameter", "buffer", "input") and name
    _atoms: dict[tuple[str, str], int] = field(default_factory=dict)

    def atom(self, kind: str, name: str) -> int:
        """The atom of a source, a new one at its first mention."""
        key = (kind, name)
        if key not in self._atoms:
            self.names.append(key)
            self._atoms[key] = -len(self.names)
        return self._atoms[key]

    def label(self, atom: int) -> str:
        """`input:NAME`, `parameter:NAME` or `buffer:NAME`."""
        kind, name = self.names[-atom - 1]
        return f"{kind}:{name}"

    def pick(self, flow: Iterable[int], kind: str) -> tuple[str, ...]:
        """Names of the sources of one kind in a flow, in order of first mention."""
        found = sorted((atom for atom in flow if atom < 0), reverse=True)
        return tuple(name for known, name in (self.names[-atom - 1] for atom in found) if known == kind)


def reaching(sites: Sequence[StaticSite], outputs: Iterable[int]) -> frozenset[int]:
    """The sites on which any of some sites depends, those themselves included."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        site = waiting.pop()
        if site not in found:
            found.add(site)
            waiting += sites[site].operands
    return frozenset(found)
