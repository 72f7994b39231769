"""Data-flow through lists, tuples and dicts: one small function per operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from gradclinic_engine.torchscript.dataflow_values import (
    UNKNOWN,
    Mapping,
    Module,
    Scalar,
    Sequence,
    Value,
    any_of,
    settle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from gradclinic_engine.torchscript.dataflow_values import Journal


@dataclass(frozen=True, slots=True)
class Moment:
    """When an operator runs: what it changes is noted here, and it surely runs exactly once, or it may not."""

    journal: Journal
    once: bool


# Gets the node and its inputs' values; gives its outputs' values.
Handler: TypeAlias = "Callable[[torch.Node, list[Value], Moment], list[Value]]"


def _build_sequence(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    return [Sequence(list(values))]


def _build_mapping(_node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    built = Mapping()
    for key, value in zip(values[::2], values[1::2], strict=True):
        built.put(known(key), value, moment.journal)
    return [built]


def _unpack(node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    return [item(values[0], position) for position in range(node.outputsSize())]


def _index(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    return [item(values[0], known(values[1]))]


def _get(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    default = values[2] if len(values) > 2 else Scalar(None)  # noqa: PLR2004  # self, key, default
    return [any_of([item(values[0], known(values[1])), default])]


def _slice(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    found: list[Value] = []
    for source in settle(values[0]):
        bounds = [known(value) for value in values[1:4]]
        if isinstance(source, Sequence) and source.is_exact and not source.rest and UNKNOWN not in bounds:
            start, stop, step = cast("list[int | None]", [*bounds, None, None, None])[:3]  # by schema
            found.append(Sequence(source.items[start:stop:step]))
        else:
            found.append(Sequence([], list(source.parts()), is_exact=False))
    return [any_of(found)]


def _append(_node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    options = settle(values[0])
    for target in options:
        if isinstance(target, Sequence):
            if moment.once and len(options) == 1 and not target.rest:
                target.items.append(values[1])
            else:
                target.add(values[1], moment.journal)
    return [values[0]]


def _store(_node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    """`container[key] = value`, also list.insert."""
    options = settle(values[0])
    for target in options:
        key = known(values[1])
        if isinstance(target, Mapping):
            if moment.once and len(options) == 1 and isinstance(key, (str, int, float, bool)):
                target.entries[key] = values[2]
            else:
                target.put(key, values[2], moment.journal)
        elif isinstance(target, Sequence):
            exact = moment.once and len(options) == 1 and target.is_exact and not target.rest
            if exact and isinstance(key, int) and -len(target.items) <= key < len(target.items):
                target.items[key] = values[2]
            else:
                target.add(values[2], moment.journal)
    return [values[0]]


def _insert(_node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    for target in settle(values[0]):
        if isinstance(target, Sequence):
            target.blur(moment.journal)
            target.add(values[2], moment.journal)
    return []


def _extend(_node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    for target in settle(values[0]):
        for source in settle(values[1]):
            if isinstance(target, Sequence):
                for part in list(source.parts()):
                    target.add(part, moment.journal)
            elif isinstance(target, Mapping) and isinstance(source, Mapping):
                for key, part in source.entries.items():
                    target.put(key, part, moment.journal)
    return [values[0]]


def _blur(node: torch.Node, values: list[Value], moment: Moment) -> list[Value]:
    """pop, reverse, clear and the like: any item may be anywhere, or be what is returned."""
    taken = item(values[0], known(values[1])) if len(values) > 1 else any_of(values[0].parts())
    for target in settle(values[0]):
        if isinstance(target, Sequence):
            target.blur(moment.journal)
    return [taken] * node.outputsSize()


def _values(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    return [Sequence([], [part for source in settle(values[0]) for part in source.parts()], is_exact=False)]


def _items(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    pairs = [
        Sequence([Scalar(key), part])
        for source in settle(values[0])
        if isinstance(source, Mapping)
        for key, part in source.entries.items()
    ]
    return [Sequence(list[Value](pairs))]


def _copy(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    found: list[Value] = []
    for source in settle(values[0]):
        if isinstance(source, Mapping):
            found.append(Mapping(dict(source.entries), list(source.rest)))
        elif isinstance(source, Sequence):
            found.append(Sequence(list(source.items), list(source.rest), source.is_exact))
    return [any_of(found)]


def _concatenate(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    sources = [settle(value) for value in values]
    exact = [each[0] for each in sources if len(each) == 1]
    if len(exact) == len(sources) and all(isinstance(e, Sequence) and e.is_exact and not e.rest for e in exact):
        return [Sequence([part for each in exact for part in each.parts()])]
    return [Sequence([], [part for each in sources for one in each for part in one.parts()], is_exact=False)]


def _same(_node: torch.Node, values: list[Value], _moment: Moment) -> list[Value]:
    return [values[0]]


# For any input.
ALWAYS: dict[str, Handler] = {
    "prim::ListConstruct": _build_sequence,
    "prim::TupleConstruct": _build_sequence,
    "prim::NamedTupleConstruct": _build_sequence,
    "prim::DictConstruct": _build_mapping,
    "prim::ListUnpack": _unpack,
    "prim::TupleUnpack": _unpack,
    "prim::TupleIndex": _index,
    "prim::TupleSlice": _slice,
    "prim::unchecked_cast": _same,
    "prim::unchecked_unwrap_optional": _same,
    "aten::requires_grad_": _same,
    "aten::_unwrap_optional": _same,
    "prim::ImplicitTensorToNum": _same,
}

# Where the first input is a list, tuple or dict.
ON_CONTAINERS: dict[str, Handler] = {
    "aten::__getitem__": _index,
    "aten::get": _get,
    "aten::slice": _slice,
    "aten::append": _append,
    "aten::_set_item": _store,
    "aten::insert": _insert,
    "aten::extend": _extend,
    "aten::update": _extend,
    "aten::add_": _extend,
    "aten::pop": _blur,
    "aten::popitem": _blur,
    "aten::remove": _blur,
    "aten::reverse": _blur,
    "aten::clear": _blur,
    "aten::Delete": _blur,
    "aten::setdefault": _get,
    "aten::values": _values,
    "aten::items": _items,
    "aten::list": _copy,
    "aten::dict": _copy,
    "aten::copy": _copy,
    "aten::add": _concatenate,
}


def item(container: Value, position: object) -> Value:
    """What may stand at a position or key."""
    return any_of(
        option.at(position) if isinstance(option, (Sequence, Mapping)) else option for option in settle(container)
    )


def known(value: Value) -> object:
    """The Python value of a scalar or of a list of scalars, UNKNOWN where it is not known."""
    options = settle(value)
    if len(options) != 1 or isinstance(options[0], (Mapping, Module)):
        return UNKNOWN
    only = options[0]
    if isinstance(only, Scalar):
        return only.known
    if isinstance(only, Sequence) and only.is_exact and not only.rest:
        parts = [known(part) for part in only.items]
        return UNKNOWN if any(part is UNKNOWN for part in parts) else tuple(parts)
    return UNKNOWN
