"""Inlines a method one call at a time, so that each node keeps the module and the calls it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.torchscript import executor, program_nodes, program_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.measurements import SourceLine
    from gradclinic_engine.torchscript.program_lines import ArchiveLines

_FORK = "prim::fork"
# What a fork runs is inlined too: the interpreter would run it in a thread, where no probe can be heard.
_CALLS = frozenset({"prim::CallMethod", "prim::CallFunction", _FORK})
# TorchScript has no recursion; a deeper nest than this is no honest program.
MAX_CALL_DEPTH = 500


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One call on the way from forward to a node.

    Attributes:
        module: Path of the module whose method this is; the caller's for a function.
        source_range: Where it is called, as TorchScript prints it; "" for forward itself.
        caller: The call around it.
    """

    module: str
    source_range: str = ""
    caller: Frame | None = None

    def ranges(self) -> Iterator[str]:
        """Where the calls stand, innermost first."""
        frame: Frame | None = self
        while frame is not None:
            yield frame.source_range
            frame = frame.caller


@dataclass(slots=True)
class Inlined:
    """A flat graph.

    Attributes:
        graph: A copy of forward's graph without calls, except what could not be inlined.
        frames: The frame of a node by its first output's unique number.
        opaque: Calls that stayed, in words.
        paths: Module path of a module-valued graph value by its unique number.
        archive: Where lines are looked up that the graph has lost.
    """

    graph: torch.Graph
    frames: dict[int, Frame]
    root: Frame
    opaque: list[str] = field(default_factory=list)
    paths: dict[int, str] = field(default_factory=dict)
    archive: ArchiveLines | None = None

    def frame(self, node: torch.Node) -> Frame:
        """The call that a node stands in."""
        return self.frames.get(node.outputsAt(0).unique(), self.root) if node.outputsSize() else self.root

    def source(self, node: torch.Node) -> SourceLine | None:
        """The line that a node comes from; see `program_source.preferred`."""
        own = str(node.sourceRange())
        own_lines = program_source.lines(own)
        # Most nodes name a user's line themselves.
        if own_lines and program_source.is_original(own_lines[0]):
            return own_lines[0]
        return program_source.preferred((own, *self.frame(node).ranges()), self.archive)

    def path(self, value: torch.Value) -> str | None:
        """Path of a module value as in named_modules(), None if it is no module of this model."""
        steps: list[str] = []
        uniques: list[int] = []
        while (known := self.paths.get(value.unique())) is None:
            node = value.node()
            if node.kind() != "prim::GetAttr":
                return None
            steps.append(node.s("name"))
            uniques.append(value.unique())
            value = node.input()
        for unique, step in zip(reversed(uniques), reversed(steps), strict=True):
            known = f"{known}.{step}" if known else step
            self.paths[unique] = known
        return known


def inline(module: torch.jit.ScriptModule, method: str = "forward") -> Inlined:
    """Copies a method's graph and inlines all calls.

    The module must be freshly loaded: torch caches the graph of each callee
    the first time it is run, and an optimised one would be inlined instead.
    """
    graph = module._c._get_method(method).graph.copy()  # noqa: SLF001  # the only way to a method's graph
    root = Frame("")
    inlined = Inlined(graph, {}, root)
    inlined.paths[next(graph.inputs()).unique()] = ""
    calls = [(node, root) for node in _all_nodes(graph) if node.kind() in _CALLS]
    with executor.unoptimised():  # else torch would inline what it has optimised of a callee
        for _ in range(MAX_CALL_DEPTH):
            if not calls:
                break
            calls = _inline_level(inlined, calls)
    _drop_waits(graph)
    inlined.opaque += [f"{node.kind()} at depth {MAX_CALL_DEPTH}" for node, _ in calls]
    return inlined


def _inline_level(inlined: Inlined, calls: list[tuple[torch.Node, Frame]]) -> list[tuple[torch.Node, Frame]]:
    """Replaces each call by its body; returns the calls that stand in those bodies."""
    graph = inlined.graph
    marked: list[tuple[torch.Node, torch.Node, Frame]] = []
    for node, frame in calls:
        begin, end = graph.create("prim::Constant", [], 1), graph.create("prim::Constant", [], 1)
        begin.insertBefore(node)
        end.insertAfter(node)
        marked.append((begin, end, _callee_frame(inlined, node, frame)))
    has_forks = any(node.kind() == _FORK for node, _ in calls)
    # The pass destroys the call nodes; a wrapper that outlived them would be taken for a new node.
    del node
    calls.clear()
    torch._C._jit_pass_inline(graph)  # noqa: SLF001  # torch has no public inliner
    if has_forks:
        _inline_forks(graph)
    found: list[tuple[torch.Node, Frame]] = []
    for begin, end, frame in marked:
        node = end.prev()
        while node != begin:
            _adopt(inlined, node, frame, found)
            node = node.prev()
        begin.destroy()
        end.destroy()
    return found


def _inline_forks(graph: torch.Graph) -> None:
    """Runs what is forked at once, in its place; a future then is the value itself, with a future's type."""
    forks = graph.findAllNodes(_FORK, recurse=True)  # type: ignore[attr-defined]  # missing in torch's stubs
    for node in forks:
        # The insert point must not stay at a node that is destroyed.
        with graph.insert_point_guard(node):
            (value,) = graph.insertGraph(node.g("Subgraph"), program_nodes.inputs(node))
        _cast(graph, value, node)
    _destroy(forks)


def _drop_waits(graph: torch.Graph) -> None:
    """After `_inline_forks` there is nothing to wait for."""
    waits = graph.findAllNodes("aten::wait", recurse=True)  # type: ignore[attr-defined]  # missing in torch's stubs
    for node in waits:
        _cast(graph, node.input(), node)
    _destroy(waits)


def _cast(graph: torch.Graph, value: torch.Value, replaced: torch.Node) -> None:
    """Puts a value in place of what a node gives, with the type of that."""
    cast = graph.create("prim::unchecked_cast", [value], 1)
    cast.output().setType(replaced.output().type())
    cast.insertBefore(replaced)
    replaced.output().replaceAllUsesWith(cast.output())


def _destroy(nodes: list[torch.Node]) -> None:
    """Together, because a wrapper of a destroyed node would be taken for a new one at the same address."""
    while nodes:
        nodes.pop().destroy()


def _callee_frame(inlined: Inlined, node: torch.Node, frame: Frame) -> Frame:
    if node.kind() == _FORK:
        return frame
    path = inlined.path(node.inputsAt(0)) if node.kind() == "prim::CallMethod" else None
    return Frame(frame.module if path is None else path, str(node.sourceRange()), frame)


def _adopt(inlined: Inlined, node: torch.Node, frame: Frame, found: list[tuple[torch.Node, Frame]]) -> None:
    """Notes the frame of a node that came from inlining, and of all nodes inside it."""
    for each in (node, *_nested_nodes(node)):
        kind = each.kind()
        if kind == "prim::GetAttr":  # never a site
            continue
        if each.outputsSize():
            inlined.frames[each.outputsAt(0).unique()] = frame
        if kind in _CALLS:
            if kind == "prim::CallMethod" and each.inputsAt(0).type().kind() == "InterfaceType":
                inlined.opaque.append(f"{each.s('name')} of {each.inputsAt(0).type()}")
            else:
                found.append((each, frame))


def _nested_nodes(node: torch.Node) -> Iterator[torch.Node]:
    for block in program_nodes.blocks(node, node.kind()):
        for inner in block.nodes():
            yield inner
            yield from _nested_nodes(inner)


def _all_nodes(graph: torch.Graph) -> Iterator[torch.Node]:
    for node in graph.nodes():
        yield node
        yield from _nested_nodes(node)
