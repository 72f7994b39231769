"""Looks through an archive's code, and through loaded graphs, for operators that are not allowed.

What is looked at before loading is text, read as torch's own lexer reads it: strings and comments are passed over, and
`torch` and `ops` may stand only where torch itself would write them, as the beginning of a call. A look at the graphs
after loading finds whatever hid from that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_engine.torchscript import program_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from gradclinic_engine.torchscript.vetting_policy import OperatorPolicy

_GAP = r"(?:[ \t\r\n]|\\\r?\n)*"
_INTERESTING = re.compile(
    r"""'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^\\'])*'|"(?:\\.|[^\\"])*"|\#[^\n]*"""
    rf"|(?<![A-Za-z0-9_])(?P<root>torch|ops|__torch__)(?![A-Za-z0-9_])(?P<rest>(?:{_GAP}\.{_GAP}[A-Za-z_]\w*)*)(?P<next>{_GAP}[(:])?",
    re.DOTALL | re.ASCII,
)
_GAPS = re.compile(_GAP)
_ATTRIBUTE = re.compile(rf"\.{_GAP}\Z")
_LOOK_BACK_CHARACTERS = 200
_MAX_LINE_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Forbidden:
    """A place where something is used that is not allowed."""

    what: str  # the operator, or what else
    file: str
    line: int
    text: str  # of the line, stripped


def look_through(text: str, file: str, policy: OperatorPolicy) -> Forbidden | None:
    """The first thing in some TorchScript code that a policy refuses."""
    for match in _INTERESTING.finditer(text):
        root = match["root"]
        if not root or _is_attribute(text, match.start()):
            continue
        path = _GAPS.sub("", match["rest"]).split(".")[1:]
        after = (match["next"] or "").strip()
        if not path and after == ":":
            continue  # the declaration of an attribute of that name
        if what := _refused(root, path, called=after.endswith("("), policy=policy):
            line = text.count("\n", 0, match.start()) + 1
            return Forbidden(what, file, line, text.splitlines()[line - 1].strip()[:_MAX_LINE_CHARACTERS])
    return None


def _is_attribute(text: str, start: int) -> bool:
    """Whether a name belongs to something before it: `self.torch`."""
    return _ATTRIBUTE.search(text, max(0, start - _LOOK_BACK_CHARACTERS), start) is not None


def _refused(root: str, path: list[str], *, called: bool, policy: OperatorPolicy) -> str:
    """What is refused about one name; empty if nothing."""
    if root == "__torch__":
        if path[:2] == ["torch", "classes"] and (len(path) == 2 or not policy.permits_class(path[2])):  # noqa: PLR2004 - the bare namespace
            return ".".join(["torch", *path[1:]])
        return ""
    operator = _operator(root, path) if called else ""
    if not operator:
        return f"`{'.'.join([root, *path])}` as a value"
    return "" if policy.permits(operator) else operator


def _operator(root: str, path: list[str]) -> str:
    """The operator that a call names: `torch.relu` is `aten::relu`, `ops.prims.sin` is `prims::sin`."""
    match root, path:
        case ("torch", [name]) | ("torch", ["autograd", name]):
            return f"aten::{name}"
        case ("ops", [namespace, name]):
            return f"{namespace}::{name}"
    return ""


def look_through_graph(graph: torch.Graph, policy: OperatorPolicy) -> Forbidden | None:
    """The first node of a graph, or of what it calls, that a policy refuses."""
    permitted: set[str] = set()
    for node, kind in _nodes(graph):
        if kind in permitted:
            continue
        if not policy.permits(kind):
            file, line, text = _place(node)
            return Forbidden(kind, file, line, text)
        permitted.add(kind)
    return None


# What is forked, and what is run only when it is waited for.
_WITH_GRAPHS = frozenset({"prim::fork", "prim::awaitable", "prim::Closure"})


def _nodes(graph: torch.Graph) -> Iterator[tuple[torch.Node, str]]:
    waiting: list[torch.Graph | torch.Block] = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            kind = node.kind()
            yield node, kind
            waiting += program_nodes.blocks(node, kind)
            if kind in _WITH_GRAPHS:
                waiting.append(node.g("Subgraph"))


_SOURCE = re.compile(r'File "([^"]+)", line (\d+)')


def _place(node: torch.Node) -> tuple[str, int, str]:
    told = str(node.sourceRange())
    found = _SOURCE.search(told)
    marked = next((line for line in told.splitlines() if line.rstrip().endswith("HERE")), "")
    before = told.splitlines()[: told.splitlines().index(marked)] if marked else []
    text = before[-1].strip()[:_MAX_LINE_CHARACTERS] if before else ""
    return (found[1], int(found[2]), text) if found else ("", 0, text)
