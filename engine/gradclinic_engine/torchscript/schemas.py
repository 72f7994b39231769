"""What torch itself says of an operator: the names of its arguments, and which ones it writes into or hands back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch


@dataclass(frozen=True, slots=True)
class Schema:
    """The part of an operator's schema that data-flow needs.

    Attributes:
        names: Argument names, in order.
        written: Positions of the arguments that it writes into.
        outputs_only: Positions of written arguments that it does not read (`out=`).
        viewed: For each return, the position of the argument that it may be an alias of, or None.
    """

    names: tuple[str, ...]
    written: tuple[int, ...]
    outputs_only: tuple[int, ...]
    viewed: tuple[int | None, ...]


@lru_cache(maxsize=4096)
def parsed(text: str) -> Schema | None:
    """Parses a schema as a node prints it; None for nodes that have none."""
    if text.startswith("("):
        return None
    try:
        found = torch._C.parse_schema(text)  # noqa: SLF001  # the only parser of schemas
    except RuntimeError:
        return None
    aliases = [_alias_sets(argument) for argument in found.arguments]
    written = tuple(
        i for i, argument in enumerate(found.arguments) if argument.alias_info and argument.alias_info.is_write
    )
    return Schema(
        names=tuple(argument.name for argument in found.arguments),
        written=written,
        outputs_only=tuple(i for i in written if found.arguments[i].name.startswith("out") and i > 0),
        viewed=tuple(
            next((i for i, sets in enumerate(aliases) if sets & _alias_sets(returned)), None)
            for returned in found.returns
        ),
    )


def _alias_sets(argument: torch.Argument) -> frozenset[str]:
    alias = argument.alias_info
    return frozenset(alias.before_set) - {"*", "alias::*"} if alias is not None else frozenset()
