"""Attributes of modules and objects as the walk sees them: as they were loaded, or as forward assigned them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from gradclinic_engine.torchscript.dataflow_values import (
    UNKNOWN,
    Module,
    Scalar,
    Sequence,
    Tensor,
    Value,
    any_of,
    settle,
)
from gradclinic_engine.torchscript.dataflow_values import Mapping as Entries

if TYPE_CHECKING:
    from gradclinic_engine.graph.sites import Sources


class Attributes:
    """Attributes of modules and objects, as they were loaded or assigned."""

    def __init__(self, module: torch.jit.ScriptModule, sources: Sources, assigned: frozenset[str]) -> None:
        self._sources = sources
        self._assigned = assigned
        self._modules: dict[str, Any] = {"": module._c}  # noqa: SLF001  # the graph speaks of the C++ module
        self._known: dict[tuple[str, str], Value] = {}
        self._tensors: dict[int, Tensor] = {}
        self._keep: list[torch.Tensor] = []  # ids are told apart only while the tensors live
        for kind, named in (("parameter", module.named_parameters()), ("buffer", module.named_buffers())):
            for name, tensor in named:
                self._lasting(kind, name, tensor)

    def get(self, target: Value, name: str) -> Value:
        """Reads an attribute."""
        found: list[Value] = []
        for option in settle(target):
            if isinstance(option, Module):
                found.append(self._of_module(option.path, name))
            elif isinstance(option, Entries):
                found.append(option.entries.get(name) or Scalar())
            else:
                found.append(option)
        return any_of(found)

    def set(self, target: Value, name: str, value: Value, *, certain: bool) -> None:
        """Assigns an attribute."""
        for option in settle(target):
            if isinstance(option, Module):
                before = self._of_module(option.path, name)
                self._known[option.path, name] = value if certain else any_of([before, value])
            elif isinstance(option, Entries):
                before = option.entries.get(name) or value
                option.entries[name] = value if certain else any_of([before, value])

    def _of_module(self, path: str, name: str) -> Value:
        key = (path, name)
        if key not in self._known:
            try:
                attribute = self._modules[path].getattr(name)
            except RuntimeError:  # its class is on the caller's machine: an enumeration or a script class
                self._known[key] = Scalar()
            else:
                self._known[key] = self._convert(attribute, f"{path}.{name}" if path else name, name)
        return self._known[key]

    def _convert(self, attribute: object, path: str, name: str) -> Value:
        if isinstance(attribute, torch._C.ScriptModule):  # noqa: SLF001  # what getattr gives for a submodule
            self._modules[path] = attribute
            return Module(path)
        if isinstance(attribute, torch.Tensor):
            return self._lasting("buffer", path, attribute)
        if isinstance(attribute, Mapping):
            return Entries({key: self._convert(part, f"{path}.{key}", name) for key, part in attribute.items()})
        if isinstance(attribute, (list, tuple)):
            return Sequence([self._convert(part, f"{path}.{i}", name) for i, part in enumerate(attribute)])
        if attribute is None or isinstance(attribute, (bool, int, float, str)):
            return Scalar(UNKNOWN if name in self._assigned else attribute)
        return Scalar()

    def _lasting(self, kind: str, name: str, tensor: torch.Tensor) -> Tensor:
        if id(tensor) not in self._tensors:
            self._keep.append(tensor)
            atom = self._sources.atom(kind, name)
            self._tensors[id(tensor)] = Tensor(frozenset({atom}), is_lasting=True)
        return self._tensors[id(tensor)]


def assigned_names(graph: torch.Graph) -> frozenset[str]:
    """Names of all attributes that the program assigns."""
    nodes = graph.findAllNodes("prim::SetAttr", recurse=True)  # type: ignore[attr-defined]  # missing in torch's stubs
    return frozenset(node.s("name") for node in nodes)
