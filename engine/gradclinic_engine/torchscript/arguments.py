"""Turns named tensors into the arguments of a scripted forward method.

Positional inputs are named `0`, `1`..., keyword inputs by name, nested ones by
dotted name: `0.1` is the second part of the first input, `batch.mask` the entry
`mask` of the input `batch`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch

from gradclinic_engine.tensors import bad_inputs, describe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradclinic_engine.errors import AnalysisError

# A tensor, or parts by name.
Tree: TypeAlias = "torch.Tensor | dict[str, Tree]"


def bind(module: torch.jit.ScriptModule, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
    """The arguments of ``module.forward`` in the order of its schema, without self, by the names they were sent with.

    Args:
        module: A loaded module.
        tensors: The inputs by their (dotted) names.

    Raises:
        AnalysisError: BAD_INPUTS when an argument is missing, given twice, or of the wrong kind.
    """
    parameters = module.forward.schema.arguments[1:]  # type: ignore[attr-defined]  # typed as a plain callable
    tree = _tree(tensors)
    sent = {name.partition(".")[0] for name in tensors}
    arguments: dict[str, object] = {}
    for position, parameter in enumerate(parameters):
        names = [name for name in (str(position), parameter.name) if name in tree]
        if len(names) > 1:
            raise bad_inputs(
                "inputs", f"`{position}` and `{parameter.name}` are the same argument of forward; send one."
            )
        known = str(position) if str(position) in sent else parameter.name
        if names:
            arguments[known] = _fit(tree.pop(names[0]), parameter.type, names[0])
        elif parameter.has_default_value():
            arguments[known] = _default(parameter)
        elif isinstance(parameter.type, torch.OptionalType):
            arguments[known] = None
        else:
            raise bad_inputs(
                "inputs", f"`{parameter.name}` is missing. {_expected(parameters)} Got: {describe(tensors)}."
            )
    if tree:
        raise bad_inputs(
            "inputs", f"`{next(iter(tree))}` is no argument. {_expected(parameters)} Got: {describe(tensors)}."
        )
    return arguments


def _default(parameter: torch.Argument) -> object:
    try:
        value: object = parameter.default_value
    except RuntimeError as error:  # its class is on the caller's machine
        raise _bad(
            f"`{parameter.name}` has a default of the type {parameter.type}, which cannot be made here. Make it an "
            "attribute of the module instead of an argument of forward.",
        ) from error
    return value


def _expected(parameters: list[torch.Argument]) -> str:
    if not parameters:
        return "forward takes no arguments."
    listed = ", ".join(f"{position} or `{each.name}`: {each.type}" for position, each in enumerate(parameters))
    return f"forward takes {len(parameters)} argument(s) ({listed})."


def _tree(tensors: Mapping[str, torch.Tensor]) -> dict[str, Tree]:
    root: dict[str, Tree] = {}
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        branch = root
        for part in path:
            below = branch.setdefault(part, {})
            if not isinstance(below, dict):
                raise _bad(f"`{part}` of `{name}` is a tensor and a container at once.")
            branch = below
        if last in branch:
            raise _bad(f"`{name}` is a tensor and a container at once.")
        branch[last] = tensor
    return root


def _fit(value: Tree, kind: torch._C.JitType, name: str) -> object:
    """Gives a tensor, or a tree of tensors, the form that the schema asks for."""
    if isinstance(kind, torch.OptionalType):
        return _fit(value, kind.getElementType(), name)
    if isinstance(value, torch.Tensor):
        return _fit_tensor(value, kind, name)
    if isinstance(kind, torch.ListType):
        return [_fit(part, kind.getElementType(), f"{name}.{key}") for key, part in _in_order(value, name)]
    if isinstance(kind, torch.TupleType):
        return _fit_tuple(value, kind, name)
    if isinstance(kind, torch.DictType):
        return {
            _key(key, kind.getKeyType(), name): _fit(part, kind.getValueType(), f"{name}.{key}")
            for key, part in value.items()
        }
    raise _bad(f"`{name}` has parts, but forward takes {kind} there.")


def _fit_tensor(value: torch.Tensor, kind: torch._C.JitType, name: str) -> object:
    """A tensor as such, as a number, or as a list of numbers."""
    described = str(kind)
    if described in {"int", "float", "bool", "number"}:
        return _scalar(value, described, name)
    if isinstance(kind, torch.ListType) and value.dim() and str(kind.getElementType()) != "Tensor":
        return [_fit(part, kind.getElementType(), f"{name}.{place}") for place, part in enumerate(value)]
    if described in {"Tensor", "Any"} or described.startswith("Union["):
        return value
    raise _bad(f"`{name}` is a tensor, but forward takes {described}: name its parts `{name}.KEY`.")


def _fit_tuple(value: dict[str, Tree], kind: torch.TupleType, name: str) -> tuple[object, ...]:
    """Optional parts may be missing."""
    kinds = kind.elements()
    required = {str(place) for place, each in enumerate(kinds) if not isinstance(each, torch.OptionalType)}
    if not required <= set(value) <= {str(place) for place in range(len(kinds))}:
        raise _bad(f"`{name}` has {len(value)} part(s) ({', '.join(value)}), but forward takes {kind}.")
    return tuple(
        _fit(value[str(place)], each, f"{name}.{place}") if str(place) in value else None
        for place, each in enumerate(kinds)
    )


def _key(key: str, kind: torch._C.JitType, name: str) -> object:
    """A dict's key as forward has it."""
    try:
        return {"int": int, "float": float}.get(str(kind), str)(key)
    except ValueError as error:
        raise _bad(f"`{name}.{key}`: the keys of `{name}` are of type {kind}.") from error


def _in_order(value: dict[str, Tree], name: str) -> list[tuple[str, Tree]]:
    """The parts of a sequence by their position."""
    expected = [str(position) for position in range(len(value))]
    if sorted(value) != sorted(expected):
        raise _bad(f"the parts of `{name}` must be numbered {name}.0, {name}.1, ... without a gap.")
    return [(position, value[position]) for position in expected]


def _scalar(value: torch.Tensor, kind: str, name: str) -> object:
    if value.numel() != 1:
        raise _bad(f"`{name}` must be one {kind}, but has shape {list(value.shape)}.")
    number = value.item()
    return {"int": int, "float": float, "bool": bool}.get(kind, lambda same: same)(number)


def _bad(what: str) -> AnalysisError:
    return bad_inputs("inputs", what)
