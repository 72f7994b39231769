"""The custom operators that stand behind each site in an instrumented graph, and who listens to them.

They do nothing unless a recorder listens; a graph with probes stays runnable.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from gradclinic_engine.front_end import AttentionCall

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradclinic_engine.front_end import Listener

PROBE = "gradclinic::probe"
PROBE_OPTIONAL = "gradclinic::probe_optional"
PROBE_LIST = "gradclinic::probe_list"
PROBE_OPTIONAL_LIST = "gradclinic::probe_optional_list"
PROBE_OPERANDS = "gradclinic::probe_operands"
PROBE_ATTENTION = "gradclinic::probe_attention"
PROBE_GATES = "gradclinic::probe_gates"
VISIT = "gradclinic::visit"


class _Line:
    """Who listens now; one at a time per process, as the graph's operators are global."""

    listener: Listener | None = None


def _probe(value: torch.Tensor, site: int) -> None:
    if _Line.listener is not None:
        _Line.listener.on_tensor(value, site)


def _probe_optional(value: torch.Tensor | None, site: int) -> None:
    if _Line.listener is not None:
        if value is None:
            _Line.listener.on_visit(site)
        else:
            _Line.listener.on_tensor(value, site)


def _probe_list(values: list[torch.Tensor], site: int) -> None:
    if _Line.listener is not None:
        _Line.listener.on_list(values, site)


def _probe_optional_list(values: list[torch.Tensor | None], site: int) -> None:
    _probe_list([value for value in values if value is not None], site)


def _probe_operands(values: list[torch.Tensor], site: int) -> None:
    if _Line.listener is not None:
        _Line.listener.on_operands(values, site)


def _probe_attention(  # noqa: PLR0913, PLR0917 - an operator has plain arguments
    query: torch.Tensor,
    key: torch.Tensor,
    mask: torch.Tensor | None,
    causal: bool,  # noqa: FBT001
    scale: float | None,
    site: int,
) -> None:
    if _Line.listener is not None:
        _Line.listener.on_attention(AttentionCall(query, key, mask, causal, scale), site)


def _probe_gates(value: torch.Tensor, state: list[torch.Tensor], weights: list[torch.Tensor], site: int) -> None:
    if _Line.listener is not None:
        _Line.listener.on_gates(value, state, weights, site)


def _visit(site: int) -> None:
    if _Line.listener is not None:
        _Line.listener.on_visit(site)


# Composite operators run inside autograd's own level, so a hook on the value is a hook on the real gradient.
_LIBRARY = torch.library.Library("gradclinic", "DEF")
_LIBRARY.define("probe(Tensor value, int site) -> ()")
_LIBRARY.define("probe_optional(Tensor? value, int site) -> ()")
_LIBRARY.define("probe_list(Tensor[] values, int site) -> ()")
_LIBRARY.define("probe_optional_list(Tensor?[] values, int site) -> ()")
_LIBRARY.define("probe_operands(Tensor[] values, int site) -> ()")
_LIBRARY.define("probe_attention(Tensor query, Tensor key, Tensor? mask, bool causal, float? scale, int site) -> ()")
_LIBRARY.define("probe_gates(Tensor value, Tensor[] state, Tensor[] weights, int site) -> ()")
_LIBRARY.define("visit(int site) -> ()")
_LIBRARY.impl("probe", _probe, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_optional", _probe_optional, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_list", _probe_list, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_optional_list", _probe_optional_list, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_operands", _probe_operands, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_attention", _probe_attention, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_gates", _probe_gates, "CompositeImplicitAutograd")
_LIBRARY.impl("visit", _visit, "CompositeExplicitAutograd")


def are_on() -> bool:
    """Whether anybody listens."""
    return _Line.listener is not None


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Probes are on inside, and off again after it, whatever happened.

    Raises:
        RuntimeError: When somebody listens already.
    """
    if are_on():
        raise RuntimeError("probes are already on in this process; one run at a time")
    _Line.listener = listener
    try:
        yield
    finally:
        _Line.listener = None
