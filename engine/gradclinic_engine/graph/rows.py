"""How the rows of the operator table are written: several names that share their facts in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradclinic_engine.graph.op import Op

if TYPE_CHECKING:
    from gradclinic_engine.graph.op import Kind


def rows(names: str, kind: Kind, **facts: Any) -> tuple[Op, ...]:
    """One row for each of the names; those without a namespace are of `aten`."""
    return tuple(Op(name=name if "::" in name else f"aten::{name}", kind=kind, **facts) for name in names.split())
