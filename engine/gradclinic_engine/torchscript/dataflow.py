"""One walk over the inlined graph: finds the sites, and from where each of them reads.

The walk runs the program with abstract values. It follows tensors through
tuples, lists, dicts, attributes, branches and loops, and lets in-place writes
reach all that share the memory. Branches that can never run are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from gradclinic_engine.graph import ops
from gradclinic_engine.graph.op import Kind
from gradclinic_engine.graph.sites import Sources
from gradclinic_engine.torchscript import (
    dataflow_containers,
    dataflow_derivatives,
    dataflow_scalars,
    program_nodes,
    schemas,
)
from gradclinic_engine.torchscript.dataflow_attributes import Attributes, assigned_names
from gradclinic_engine.torchscript.dataflow_containers import Moment, known
from gradclinic_engine.torchscript.dataflow_values import (
    NOTHING,
    UNKNOWN,
    Either,
    Flow,
    Journal,
    Module,
    Scalar,
    Sequence,
    Tensor,
    Value,
    flow_of,
    settle,
    tensors_in,
)
from gradclinic_engine.torchscript.dataflow_values import Mapping as Entries

if TYPE_CHECKING:
    from gradclinic_engine.torchscript.program_inline import Inlined

# A loop's flow settles after as many rounds as values are handed on in a chain; more than this is not awaited.
MAX_LOOP_ROUNDS = 16

# Give a value that nobody reads.
_SILENT = frozenset({"prim::Enter", "prim::Exit"})


@dataclass(slots=True)
class SiteDraft:
    """What the walk learns about one operation's output.

    Attributes:
        value: The unique number of the graph value it stands for.
        form: `tensor`, `optional`, `list`, `optional list` or `scalar` (a number read out of a tensor).
        position: Which output of its node this is.
        reads: Atoms that it reads.
        is_write: It writes into one of its arguments.
        node: Its node in the inlined graph.
        arguments: What each argument of its node holds, by position.
        schema: Of its operation, where that has one.
    """

    index: int
    node: torch.Node
    value: int
    form: str
    position: int
    is_write: bool
    reads: set[int] = field(default_factory=set)
    constants: dict[str, object] = field(default_factory=dict)
    arguments: tuple[Flow, ...] = ()
    schema: schemas.Schema | None = None


class Walk:
    """The state of one walk.

    Attributes:
        sites: All sites found, in program order.
        sources: Parameters, buffers and inputs by atom.
        results: What forward returns.
    """

    def __init__(
        self, inlined: Inlined, module: torch.jit.ScriptModule, arguments: Iterable[tuple[str, object]]
    ) -> None:
        self.sites: list[SiteDraft] = []
        self.sources = Sources()
        self.results: list[Value] = []
        self._inlined = inlined
        self._journal = Journal()
        self._values: dict[int, Value] = {}
        self._made: dict[int, Value] = {}
        self._site_of: dict[int, SiteDraft] = {}
        self._depth = 0  # how many loops and open branches are around the current node
        self._attributes = Attributes(module, self.sources, assigned_names(inlined.graph))
        graph = inlined.graph
        self_value, *rest = graph.inputs()
        self._values[self_value.unique()] = Module("")
        for value, (name, argument) in zip(rest, arguments, strict=True):
            self._values[value.unique()] = self._input(name, argument)

    def run(self) -> None:
        """Walks the whole graph."""
        self._block(self._inlined.graph)
        self.results = [self._values[value.unique()] for value in self._inlined.graph.outputs()]

    def _input(self, name: str, argument: object) -> Value:
        if isinstance(argument, torch.Tensor):
            return Tensor(frozenset({self.sources.atom("input", name)}))
        if isinstance(argument, Mapping):
            return Entries({key: self._input(f"{name}.{key}", part) for key, part in argument.items()})
        if isinstance(argument, (list, tuple)):
            return Sequence([self._input(f"{name}.{position}", part) for position, part in enumerate(argument)])
        # The presence of an argument decides branches, its value is data.
        return Scalar(None) if argument is None else Scalar(UNKNOWN, frozenset({self.sources.atom("input", name)}))

    def _block(self, block: torch.Block | torch.Graph) -> None:
        for node in block.nodes():
            self._node(node)

    def _node(self, node: torch.Node) -> None:
        kind = node.kind()
        match kind:
            case "prim::Constant":
                self._constant(node)
            case "prim::GetAttr":
                target = self._values[node.input().unique()]
                self._values[node.output().unique()] = self._attributes.get(target, node.s("name"))
            case "prim::SetAttr":
                target, value = (self._values[each.unique()] for each in program_nodes.inputs(node))
                self._attributes.set(target, node.s("name"), value, certain=not self._depth)
            case "prim::If":
                self._if(node)
            case "prim::Loop":
                self._loop(node)
            case "prim::CreateObject":
                self._values[node.output().unique()] = self._made.setdefault(node.output().unique(), Entries())
            case "prim::Uninitialized":  # stands where a branch raises instead: nothing may read it
                is_tensor = node.output().type().kind() == "TensorType"
                self._values[node.output().unique()] = Tensor(NOTHING) if is_tensor else Scalar()
            case _:
                self._operator(node, kind)

    def _constant(self, node: torch.Node) -> None:
        output = node.output()
        constant = dataflow_scalars.constant(output)
        if isinstance(constant, torch.Tensor):
            self._put_site(node, output, 0, "tensor", NOTHING, {}, is_write=False)
        else:
            self._values[output.unique()] = dataflow_scalars.as_value(constant)

    def _if(self, node: torch.Node) -> None:
        then, otherwise = node.blocks()
        condition = known(self._values[node.input().unique()])
        if isinstance(condition, bool):
            taken = then if condition else otherwise
            self._block(taken)
            for output, value in zip(program_nodes.outputs(node), taken.outputs(), strict=True):
                self._values[output.unique()] = self._values[value.unique()]
            return
        changes = []
        for block in (then, otherwise):
            self._depth += 1
            self._journal.begin()
            self._block(block)
            changes.append(self._journal.end())
            self._depth -= 1
        self._journal.join(changes)
        for output, *options in zip(program_nodes.outputs(node), then.outputs(), otherwise.outputs(), strict=True):
            either = self._either(output)
            for option in options:
                either.offer(self._values[option.unique()], self._journal)

    def _loop(self, node: torch.Node) -> None:
        (block,) = node.blocks()
        _, condition, *initial = (self._values[value.unique()] for value in program_nodes.inputs(node))
        counter, *carried = block.inputs()
        self._values[counter.unique()] = Scalar()
        if known(condition) is False:
            for output, value in zip(program_nodes.outputs(node), initial, strict=True):
                self._values[output.unique()] = value
            return
        for inside, start in zip(carried, initial, strict=True):
            self._either(inside).offer(start, self._journal)
        for _ in range(MAX_LOOP_ROUNDS):
            before = self._journal.growth
            self._depth += 1
            self._journal.begin()
            self._block(block)
            self._journal.join([self._journal.end()], may_skip=True)
            self._depth -= 1
            _, *handed_on = (self._values[value.unique()] for value in block.outputs())
            for inside, again in zip(carried, handed_on, strict=True):
                self._either(inside).offer(again, self._journal)
            if self._journal.growth == before:
                break
        for output, inside in zip(program_nodes.outputs(node), carried, strict=True):
            self._values[output.unique()] = self._either(inside)

    def _either(self, value: torch.Value) -> Either:
        made = self._made.setdefault(value.unique(), Either())
        self._values[value.unique()] = made
        if not isinstance(made, Either):  # pragma: no cover  # each value is made in one place
            raise TypeError(made)
        return made

    def _operator(self, node: torch.Node, kind: str) -> None:
        values = [self._values.get(value.unique()) or Scalar() for value in program_nodes.inputs(node)]
        handler = dataflow_containers.ALWAYS.get(kind)
        if handler is None and kind in dataflow_containers.ON_CONTAINERS and values and _is_container(values[0]):
            handler = dataflow_containers.ON_CONTAINERS[kind]
        if handler is not None:
            results = handler(node, values, Moment(self._journal, once=not self._depth))
            for output, value in zip(program_nodes.outputs(node), results, strict=False):
                self._values[output.unique()] = self._piece(output, value, values[0] if values else None)
            return
        if ops.of(kind).kind is Kind.QUERY:
            for output in program_nodes.outputs(node):
                folded = dataflow_scalars.fold(kind, values) if kind in dataflow_scalars.FOLDED else UNKNOWN
                self._values[output.unique()] = Scalar(folded, is_shape=_form(output.type()) == "tensor")
            return
        if not node.outputsSize() or kind in _SILENT:
            return
        outputs = program_nodes.outputs(node)
        forms = [_form(output.type()) for output in outputs]
        if forms == ["number"]:
            self._number(node, kind, values)
        else:
            self._tensors(node, kind, values, list(zip(outputs, forms, strict=True)))

    def _piece(self, output: torch.Value, value: Value, container: Value | None) -> Value:
        """A tensor taken out of a list that an op made is memory of its own, as far as we know."""
        if not (isinstance(value, Tensor) and isinstance(container, Sequence) and container.items == []):
            return value
        piece = self._made.setdefault(output.unique(), Tensor())
        if isinstance(piece, Tensor):
            self._journal.note(piece)
            piece.content = value.content
            piece.attach([value], is_full=False)
        return piece

    def _number(self, node: torch.Node, kind: str, values: list[Value]) -> None:
        """A number, flag or text: computed from others, or read out of a tensor."""
        output = node.output()
        if kind in dataflow_scalars.FOLDED and (folded := dataflow_scalars.fold(kind, values)) is not UNKNOWN:
            self._values[output.unique()] = Scalar(folded)
            return
        flow = NOTHING.union(*(flow_of(value) for value in values))
        if any(True for value in values for _ in tensors_in(value)):
            self._put_site(node, output, 0, "scalar", flow, {}, is_write=False)
        else:
            self._values[output.unique()] = Scalar(UNKNOWN, flow)

    def _tensors(
        self, node: torch.Node, kind: str, values: list[Value], outputs: list[tuple[torch.Value, str]]
    ) -> None:
        if dataflow_scalars.is_shape_arithmetic(kind, values):
            for output, _ in outputs:
                self._values[output.unique()] = Scalar(is_shape=True)
            return
        schema, op = schemas.parsed(node.schema()), ops.of(kind)
        if op.kind is Kind.DERIVATIVE:
            values = dataflow_derivatives.read_by(values, self.sites)
        skipped = {*op.shape_arguments}
        if schema is not None:
            skipped |= set(schema.written if op.is_in_place and op.overwrites else schema.outputs_only)
        reads = NOTHING.union(*(flow_of(value) for i, value in enumerate(values) if i not in skipped))
        constants = dataflow_scalars.constants_of(schema.names, values) if schema is not None else {}
        for position, (output, form) in enumerate(outputs):
            viewed = None
            if schema is not None and position < len(schema.viewed):
                viewed = schema.viewed[position]
            is_write = schema is not None and viewed in schema.written
            if form in ("number", "other"):
                self._values[output.unique()] = _container_of(form, reads)
                continue
            self._put_site(node, output, position, form, reads, constants, is_write=is_write)
            site = self._site_of[output.unique()]
            site.schema = schema
            flows = tuple(flow_of(value) for value in values)
            site.arguments = tuple(a | b for a, b in zip(site.arguments or flows, flows, strict=True))
            if viewed is not None:
                self._alias(output, values[viewed], kind, is_write=is_write)

    def _alias(self, output: torch.Value, original: Value, kind: str, *, is_write: bool) -> None:
        """The output shares memory with one of the arguments."""
        site = self._site_of[output.unique()]
        originals = list(tensors_in(original))
        if is_write:
            for tensor in originals:
                tensor.write(site.index, self._journal)
            self._values[output.unique()] = original if originals else self._values[output.unique()]
        else:
            for view in tensors_in(self._values[output.unique()]):
                view.attach(originals, is_full=ops.of(kind).keeps_all)

    def _put_site(  # noqa: PLR0913, PLR0917  # the parts of a site
        self,
        node: torch.Node,
        output: torch.Value,
        position: int,
        form: str,
        reads: Flow,
        constants: dict[str, object],
        *,
        is_write: bool,
    ) -> None:
        """Makes the site of an output, or adds to it when a loop comes round again."""
        unique = output.unique()
        site = self._site_of.get(unique)
        if site is None:
            site = SiteDraft(len(self.sites), node, unique, form, position, is_write, set(), constants)
            self._site_of[unique] = site
            self.sites.append(site)
            self._made[unique] = _blank(form)
        if not reads <= site.reads:
            site.reads |= reads
            self._journal.growth += 1
        made = self._made[unique]
        own = frozenset({site.index})
        if isinstance(made, Scalar):
            made.source = own
        for tensor in tensors_in(made):
            self._journal.note(tensor)
            tensor.content = own
        self._values[unique] = made


def _form(kind: Any) -> str:
    """How a graph value of a type is handled."""
    match kind.kind():
        case "TensorType":
            return "tensor"
        case "OptionalType" if kind.getElementType().kind() == "TensorType":
            return "optional"
        case "ListType" if kind.getElementType().kind() == "TensorType":
            return "list"
        case "ListType" if _form(kind.getElementType()) == "optional":
            return "optional list"
        case "IntType" | "FloatType" | "BoolType" | "NumberType" | "StringType" | "ComplexType" | "DeviceObjType":
            return "number"
        case _:
            return "other"


def _blank(form: str) -> Value:
    match form:
        case "scalar":
            return Scalar()
        case "tensor" | "optional":
            return Tensor()
        case _:
            return Sequence([], [Tensor()], is_exact=False)


def _container_of(form: str, flow: Flow) -> Value:
    """What an op gives beside tensors: a number, or a container that holds something of what it read."""
    return Scalar(UNKNOWN, flow) if form == "number" or not flow else Sequence([], [Tensor(flow)], is_exact=False)


def _is_container(value: Value) -> bool:
    return any(isinstance(option, (Sequence, Entries)) for option in settle(value))
