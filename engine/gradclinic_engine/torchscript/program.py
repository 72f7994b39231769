"""A model as a program: its flat graph, the table of its sites, and probes behind each of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.loss_ops import LOSS_OPS
from gradclinic_engine.torchscript import (
    composites,
    dataflow,
    dataflow_values,
    probe,
    program_autocast,
    program_inline,
    program_lines,
    program_nodes,
    program_numbers,
)
from gradclinic_engine.torchscript.parameter_names import ParameterNames

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from gradclinic_engine.measurements import SourceLine
    from gradclinic_engine.torchscript.dataflow import SiteDraft

# How far above an activation one looks for what says where its units are.
UNIT_SEARCH_STEPS = 6


@dataclass(frozen=True, slots=True)
class ProgramSite:
    """The static half of a site; fields as in `measurements.Site` where the names agree.

    Attributes:
        form: `tensor`, `optional`, `list` or `scalar`.
        output: Which output of its operation this is.
        is_write: The op writes into its argument.
        may_alias: The op may hand back memory of an argument.
        reads: Atoms that it reads: sites and, negative, sources.
        span: The outputs outside the flat region, for saturating ops.
        off_margin: For ops that switch units off, as ReLU does: how far below zero such a unit's outputs may lie.
        acts_as: The operator that this one amounts to together with those before it; "" where it stands for itself.
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
    span: ops.Span | None
    off_margin: float | None
    acts_as: str
    channels_first: bool
    arguments: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Program:
    """An instrumented program.

    Attributes:
        module: The loaded module whose forward it is.
        parameters: The module's, by name, each once.
        parameter_names: All names, also further ones of the same parameter, in the order of the modules.
        graph: Inlined, with probes.
        sites: In program order.
        sources: Parameters, buffers and inputs by atom.
        results: What forward returns, as abstract values.
        unobserved: What could not be looked into, and why.
        written_inputs: Whether forward writes into its inputs.
        prepare_seconds: How long it took to make this.
    """

    module: torch.jit.ScriptModule
    parameters: dict[str, torch.nn.Parameter]
    parameter_names: dict[str, torch.nn.Parameter]
    graph: torch.Graph
    sites: tuple[ProgramSite, ...]
    sources: dataflow_values.Sources
    results: tuple[dataflow_values.Value, ...]
    unobserved: tuple[tuple[str, str], ...]
    prepare_seconds: float


def prepare(
    module: torch.jit.ScriptModule,
    arguments: Sequence[tuple[str, object]],
    *,
    archive_path: str = "",
    inlined: program_inline.Inlined | None = None,
) -> Program:
    """Reads a freshly loaded module's forward and puts a probe behind each site.

    Args:
        module: Loaded, and never run.
        arguments: Name and value of each argument of forward; the values say
            which are None and which are containers, and are not kept.
        archive_path: The file it came from, where source lines are looked up that loading has lost.
        inlined: Its forward, where that is inlined already; it gets the probes.
    """
    start = time.perf_counter()
    inlined = inlined or program_inline.inline(module)
    program_autocast.apply(inlined)
    program_numbers.restore(inlined.graph)
    inlined.archive = program_lines.ArchiveLines(archive_path) if archive_path else None
    walk = dataflow.Walk(inlined, module, arguments)
    walk.run()
    reached_by = _reached_by(walk.sites, walk.sources)
    channels_first = _channels_first(walk.sites)
    sites = tuple(
        _finish(draft, inlined, walk, reached_by[draft.index], channels_first[draft.index]) for draft in walk.sites
    )
    _instrument(inlined.graph, walk.sites)
    names = dict(module.named_parameters(remove_duplicate=False))  # torch takes its time for it
    return Program(
        module=module,
        parameters=_each_once(names),
        parameter_names=names,
        graph=inlined.graph,
        sites=sites,
        sources=walk.sources,
        results=tuple(walk.results),
        unobserved=tuple(
            (call, "This call is resolved only when it runs, so its operations were not seen.")
            for call in inlined.opaque
        ),
        prepare_seconds=time.perf_counter() - start,
    )


def _each_once(names: dict[str, torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    """Each parameter under its first name."""
    first: dict[int, str] = {}
    for name, parameter in names.items():
        first.setdefault(id(parameter), name)
    return {name: names[name] for name in first.values()}


def reaching(program: Program, outputs: Iterable[int]) -> frozenset[int]:
    """The sites on which any of some sites depends, those themselves included."""
    found: set[int] = set()
    waiting = list(outputs)
    while waiting:
        site = waiting.pop()
        if site not in found:
            found.add(site)
            waiting += program.sites[site].operands
    return frozenset(found)


def _finish(
    draft: SiteDraft,
    inlined: program_inline.Inlined,
    walk: dataflow.Walk,
    reached_by: AbstractSet[str],
    channels_first: bool,  # noqa: FBT001  # one of the parts of a site
) -> ProgramSite:
    op = draft.node.kind()
    reads = tuple(sorted(draft.reads))
    sources, acts_as = walk.sources, composites.acts_as(walk.sites, draft)
    viewed = draft.schema.viewed if draft.schema is not None else ()
    return ProgramSite(
        index=draft.index,
        op=op,
        module=inlined.frame(draft.node).module,
        source=inlined.source(draft.node),
        operands=tuple(atom for atom in reads if atom >= 0),
        parameters=sources.pick(reads, "parameter"),
        buffers=sources.pick(reads, "buffer"),
        inputs=sources.pick(reads, "input"),
        reached_by=reached_by,
        constants=draft.constants,
        form=draft.form,
        output=draft.position,
        is_write=draft.is_write,
        may_alias=not draft.is_write and (any(v is not None for v in viewed) or op in ops.MAY_RETURN_ARGUMENT),
        reads=reads,
        span=ops.lively_span(acts_as or op, draft.constants),
        off_margin=ops.off_margin(acts_as or op, draft.constants),
        acts_as=acts_as,
        channels_first=channels_first,
        arguments=tuple(tuple(sorted(flow)) for flow in draft.arguments),
    )


def _reached_by(drafts: list[SiteDraft], sources: dataflow_values.Sources) -> list[AbstractSet[str]]:
    """For each site the parameters on which its value depends, through any number of steps."""
    parameters = [name for kind, name in sources.names if kind == "parameter"]
    places = {name: place for place, name in enumerate(parameters)}
    bit = {-1 - i: 1 << places[name] for i, (kind, name) in enumerate(sources.names) if kind == "parameter"}
    masks = [0] * len(drafts)
    for draft in drafts:
        for atom in draft.reads:
            masks[draft.index] |= bit.get(atom, 0)
    changed = True
    while changed:  # once more for each loop that hands a value back
        changed = False
        for draft in drafts:
            mask = masks[draft.index]
            for atom in draft.reads:
                if atom >= 0:
                    mask |= masks[atom]
            if mask != masks[draft.index]:
                masks[draft.index] = mask
                changed = True
    # Sites in a row mostly share one set.
    names = {mask: ParameterNames(mask, parameters, places) for mask in dict.fromkeys(masks)}
    return [names[mask] for mask in masks]


def _channels_first(drafts: list[SiteDraft]) -> list[bool]:
    """Whether the operation that made a site's units puts them along dimension 1."""
    found = []
    for draft in drafts:
        at: SiteDraft | None = draft
        answer = False
        for _ in range(UNIT_SEARCH_STEPS):
            if at is None:
                break
            if at.node.kind() in ops.CHANNELS_FIRST:
                answer = True
                break
            if at.node.kind() in ops.MAKES_FEATURES_LAST:
                break
            above = [atom for atom in at.reads if atom >= 0]
            at = drafts[above[0]] if above else None
        found.append(answer)
    return found


def _instrument(graph: torch.Graph, drafts: list[SiteDraft]) -> None:
    """Puts a probe behind each site."""
    kinds = {"tensor": probe.PROBE, "optional": probe.PROBE_OPTIONAL, "list": probe.PROBE_LIST}
    for draft in drafts:
        graph.setInsertPoint(draft.node)
        index = graph.insertConstant(draft.index)  # type: ignore[attr-defined]  # missing in torch's stubs
        if draft.form == "scalar":
            call = graph.create(probe.VISIT, [index], 0)
        else:
            call = graph.create(kinds[draft.form], [draft.node.outputsAt(draft.position), index], 0)
        call.insertAfter(draft.node)
        if draft.node.kind() == ops.FUSED_ATTENTION:
            read = [draft.node.inputsAt(position) for position in (0, 1, 3, 5, 6)]
            graph.create(probe.PROBE_ATTENTION, [*read, index], 0).insertBefore(draft.node)
        if draft.position == 0 and draft.node.kind() in ops.HIDING_GATES:
            read = _gated_arguments(graph, draft.node)
            graph.create(probe.PROBE_GATES, [*read, index], 0).insertBefore(draft.node)
        if (loss := LOSS_OPS.get(draft.node.kind())) is not None:
            read = program_nodes.inputs(draft.node)[: 1 + len(loss.targets)]
            operands = _list_before(graph, draft.node, read)
            graph.create(probe.PROBE_OPERANDS, [operands, index], 0).insertBefore(draft.node)


def _gated_arguments(graph: torch.Graph, node: torch.Node) -> list[torch.Value]:
    """Input, states and weights of an operator with hidden gates, the last two as lists."""
    inputs = program_nodes.inputs(node)
    if node.kind() == ops.GATED_LINEAR_UNIT:
        return [inputs[0], _list_before(graph, node, []), _list_before(graph, node, [])]
    shift = int("batch_sizes" in node.schema())  # of packed sequences
    value, state, weights = ops.GATED[node.kind()]
    return [
        inputs[value],
        _as_list(graph, node, [inputs[state + shift]]),
        _as_list(graph, node, [inputs[position + (shift if position else 0)] for position in weights]),
    ]


def _as_list(graph: torch.Graph, node: torch.Node, values: list[torch.Value]) -> torch.Value:
    """A list as it is, tensors as a list of those that are there (a bias may be None)."""
    if values[0].type().kind() == "ListType":
        return values[0]
    return _list_before(graph, node, [value for value in values if value.type().kind() == "TensorType"])


def _list_before(graph: torch.Graph, node: torch.Node, values: list[torch.Value]) -> torch.Value:
    made = graph.create("prim::ListConstruct", values, 1)
    made.output().setType(torch.ListType.ofTensors())
    made.insertBefore(node)
    return made.output()
