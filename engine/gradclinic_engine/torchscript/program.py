"""A model as a program: its flat graph, the table of its sites, and probes behind each of them."""

from __future__ import annotations

import warnings
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from gradclinic_engine.front_end import Facts
from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Kind, Units
from gradclinic_engine.graph.sites import StaticSite
from gradclinic_engine.measurements import Module
from gradclinic_engine.torchscript import (
    composites,
    dataflow,
    dataflow_values,
    executor,
    probe,
    program_autocast,
    program_inline,
    program_lines,
    program_nodes,
    program_numbers,
    raised,
)
from gradclinic_engine.torchscript.arguments import bind
from gradclinic_engine.torchscript.parameter_names import ParameterNames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from gradclinic_engine.front_end import Listener
    from gradclinic_engine.graph.sites import Sources
    from gradclinic_engine.torchscript.dataflow import SiteDraft

# How far above an activation one looks for what says where its units are.
UNIT_SEARCH_STEPS = 6
TRAINING_ARGUMENT, RUNNING_MEAN_ARGUMENT = 5, 3  # of aten::batch_norm


@dataclass(frozen=True, slots=True)
class TorchScriptProgram:
    """An instrumented program, as `front_end.Program`.

    Attributes:
        module: The loaded module whose forward it is.
        function: Its inlined graph with probes, as a function: torch runs one without holding the GIL, which
            `torch.autograd.grad` within forward requires.
        returned: What forward returns, as abstract values.
    """

    module: torch.jit.ScriptModule
    function: torch.jit.ScriptFunction[Any, object]
    sites: tuple[StaticSite, ...]
    sources: Sources
    returned: tuple[dataflow_values.Value, ...]
    parameters: dict[str, torch.nn.Parameter]
    parameter_names: dict[str, torch.nn.Parameter]
    buffers: dict[str, torch.Tensor]
    unobserved: tuple[tuple[str, str], ...]
    facts: Facts
    raises: tuple[type[Exception], ...] = raised.RAISES

    @property
    def results(self) -> tuple[int, ...]:
        """The sites that what it returns comes from."""
        flows = [dataflow_values.flow_of(value) for value in self.returned]
        return tuple(sorted({atom for flow in flows for atom in flow if atom >= 0}))

    @property
    def modules(self) -> tuple[Module, ...]:
        """In the order of `named_modules()`."""
        owned: dict[str, list[str]] = {}
        for name in self.parameter_names:
            owned.setdefault(name.rpartition(".")[0], []).append(name)
        return tuple(
            Module(
                path=path,
                kind=getattr(each, "original_name", type(each).__name__),
                training=bool(getattr(each, "training", False)),
                parameters=tuple(owned.get(path, ())),
            )
            for path, each in self.module.named_modules()
        )

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """The arguments of forward in their order, by the names they were sent with."""
        return bind(self.module, tensors)

    def run(self, arguments: Sequence[object], listener: Listener | None = None) -> object:
        """What forward returns, run as it was written: nothing is fused away.

        What torch's operators warn of (deprecated ones, slower fallbacks) is the model's affair, and not shown.
        """
        listens = probe.listening(listener) if listener is not None else nullcontext()
        with listens, executor.unoptimised(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.function(self.module._c, *arguments)  # noqa: SLF001  # it is `self` in the graph

    def origins(self, output: object, read: Sequence[torch.Tensor]) -> tuple[int, ...]:
        """The sites that some tensors of an output come from; all of them where the structure is not known."""
        wanted = {id(tensor) for tensor in read}
        flows = [flow for value in self.returned for flow in _matching(value, output, wanted)]
        return tuple(sorted({atom for flow in flows for atom in flow if atom >= 0}))

    def said(self, error: BaseException) -> tuple[str, str]:
        """The error's own words, and TorchScript's trace or ""."""
        return raised.split_trace(str(error))

    def without_batch_statistics(self) -> TorchScriptProgram:
        """A copy in which batch normalisation uses its running statistics, where it has any."""
        copy = self.function.graph.copy()
        for node in copy.findAllNodes("aten::batch_norm"):  # type: ignore[attr-defined]  # missing in torch's stubs
            inputs = program_nodes.inputs(node)
            if str(inputs[RUNNING_MEAN_ARGUMENT].type()) != "NoneType":
                copy.setInsertPoint(node)
                node.replaceInput(TRAINING_ARGUMENT, copy.insertConstant(False))  # type: ignore[attr-defined]  # noqa: FBT003  # missing in torch's stubs
        return replace(self, function=executor.function_of(copy))


def prepare(
    module: torch.jit.ScriptModule,
    arguments: Mapping[str, object],
    *,
    archive_path: str = "",
    inlined: program_inline.Inlined | None = None,
) -> TorchScriptProgram:
    """Reads a freshly loaded module's forward and puts a probe behind each site.

    Args:
        module: Loaded, and never run.
        arguments: The arguments of forward by name, in their order; the values say
            which are None and which are containers, and are not kept.
        archive_path: The file it came from, where source lines are looked up that loading has lost.
        inlined: Its forward, where that is inlined already; it gets the probes.
    """
    inlined = inlined or program_inline.inline(module)
    program_autocast.apply(inlined)
    program_numbers.restore(inlined.graph)
    inlined.archive = program_lines.ArchiveLines(archive_path) if archive_path else None
    walk = dataflow.Walk(inlined, module, list(arguments.items()))
    walk.run()
    reached_by = _reached_by(walk.sites, walk.sources)
    channels_first = _channels_first(walk.sites)
    sites = tuple(
        _finish(draft, inlined, walk, reached_by[draft.index], channels_first[draft.index]) for draft in walk.sites
    )
    facts = Facts(has_optimising_executor=True, executors_agree=executor.differentiates_alike(inlined.graph))
    _instrument(inlined.graph, walk.sites)
    names = dict(module.named_parameters(remove_duplicate=False))  # torch takes its time for it
    return TorchScriptProgram(
        module=module,
        function=executor.function_of(inlined.graph),
        sites=sites,
        sources=walk.sources,
        returned=tuple(walk.results),
        parameters=_each_once(names),
        parameter_names=names,
        buffers=dict(module.named_buffers()),
        unobserved=tuple(
            (call, "This call is resolved only when it runs, so its operations were not seen.")
            for call in inlined.opaque
        ),
        facts=facts,
    )


def _matching(value: dataflow_values.Value, output: object, wanted: set[int]) -> list[frozenset[int]]:
    """Walks an output and the abstract value of it side by side."""
    if isinstance(output, torch.Tensor):
        return [dataflow_values.flow_of(value)] if id(output) in wanted else []
    parts: list[tuple[object, object]] = []
    if isinstance(output, dict):
        parts = list(output.items())
    elif isinstance(output, (tuple, list)):
        parts = list(enumerate(output))
    return [
        flow
        for key, part in parts
        for option in dataflow_values.settle(value)
        for flow in _matching(
            option.at(key) if isinstance(option, (dataflow_values.Sequence, dataflow_values.Mapping)) else option,
            part,
            wanted,
        )
    ]


def _each_once(names: dict[str, torch.nn.Parameter]) -> dict[str, torch.nn.Parameter]:
    """Each parameter under its first name."""
    first: dict[int, str] = {}
    for name, parameter in names.items():
        first.setdefault(id(parameter), name)
    return {name: names[name] for name in first.values()}


def _finish(
    draft: SiteDraft,
    inlined: program_inline.Inlined,
    walk: dataflow.Walk,
    reached_by: AbstractSet[str],
    channels_first: bool,  # noqa: FBT001  # one of the parts of a site
) -> StaticSite:
    op = draft.node.kind()
    reads = tuple(sorted(draft.reads))
    sources, acts_as = walk.sources, composites.acts_as(walk.sites, draft)
    viewed = draft.schema.viewed if draft.schema is not None else ()
    acting = ops.of(acts_as or op)
    return StaticSite(
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
        may_alias=not draft.is_write and (any(v is not None for v in viewed) or ops.of(op).may_return_argument),
        reads=reads,
        span=ops.lively_span(acting, draft.constants),
        off_margin=ops.off_margin(acting, draft.constants),
        acts_as=acts_as,
        channels_first=channels_first,
        arguments=tuple(tuple(sorted(flow)) for flow in draft.arguments),
    )


def _reached_by(drafts: list[SiteDraft], sources: Sources) -> list[AbstractSet[str]]:
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
            units = ops.of(at.node.kind()).units
            if units is not Units.UNKNOWN:
                answer = units is Units.CHANNELS
                break
            above = [atom for atom in at.reads if atom >= 0]
            at = drafts[above[0]] if above else None
        found.append(answer)
    return found


def _instrument(graph: torch.Graph, drafts: list[SiteDraft]) -> None:
    """Puts a probe behind each site."""
    kinds = {
        "tensor": probe.PROBE,
        "optional": probe.PROBE_OPTIONAL,
        "list": probe.PROBE_LIST,
        "optional list": probe.PROBE_OPTIONAL_LIST,
    }
    for draft in drafts:
        graph.setInsertPoint(draft.node)
        index = graph.insertConstant(draft.index)  # type: ignore[attr-defined]  # missing in torch's stubs
        if draft.form == "scalar":
            call = graph.create(probe.VISIT, [index], 0)
        else:
            call = graph.create(kinds[draft.form], [draft.node.outputsAt(draft.position), index], 0)
        call.insertAfter(draft.node)
        op = ops.of(draft.node.kind())
        if op.kind is Kind.ATTENTION and op.factors:
            read = [draft.node.inputsAt(position) for position in (0, 1, 3, 5, 6)]
            graph.create(probe.PROBE_ATTENTION, [*read, index], 0).insertBefore(draft.node)
        if draft.position == 0 and op.gates:
            read = _gated_arguments(graph, draft.node)
            graph.create(probe.PROBE_GATES, [*read, index], 0).insertBefore(draft.node)
        if op.loss:
            read = program_nodes.inputs(draft.node)[: 1 + len(op.targets)]
            operands = _list_before(graph, draft.node, read)
            graph.create(probe.PROBE_OPERANDS, [operands, index], 0).insertBefore(draft.node)


def _gated_arguments(graph: torch.Graph, node: torch.Node) -> list[torch.Value]:
    """Input, states and weights of an operator with hidden gates, the last two as lists."""
    inputs = program_nodes.inputs(node)
    places = ops.of(node.kind()).gate_arguments
    if places is None:
        return [inputs[0], _list_before(graph, node, []), _list_before(graph, node, [])]
    shift = int("batch_sizes" in node.schema())  # of packed sequences
    value, state, weights = places
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
