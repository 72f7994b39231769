"""The custom operators that stand behind each site in an instrumented graph, and who listens to them.

They do nothing unless a recorder listens; a graph with probes stays runnable.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

PROBE = "gradclinic::probe"
PROBE_OPTIONAL = "gradclinic::probe_optional"
PROBE_LIST = "gradclinic::probe_list"
PROBE_OPERANDS = "gradclinic::probe_operands"
PROBE_ATTENTION = "gradclinic::probe_attention"
PROBE_GATES = "gradclinic::probe_gates"
VISIT = "gradclinic::visit"


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What a fused attention weighs by; shapes as in `torch.nn.functional.scaled_dot_product_attention`."""

    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    is_causal: bool
    scale: float | None


class Listener(Protocol):
    """What gets told at each site."""

    def on_tensor(self, value: torch.Tensor, site: int) -> None:
        """A site gave a tensor."""

    def on_list(self, values: list[torch.Tensor], site: int) -> None:
        """A site gave a list of tensors."""

    def on_operands(self, values: list[torch.Tensor], site: int) -> None:
        """A site that is a loss is about to run on these."""

    def on_attention(self, call: AttentionCall, site: int) -> None:
        """A site that is a fused attention is about to run on these."""

    def on_gates(self, value: torch.Tensor, state: list[torch.Tensor], weights: list[torch.Tensor], site: int) -> None:
        """A site that hides gates (LSTM, GRU, GLU) is about to run on these."""

    def on_visit(self, site: int) -> None:
        """A site ran, and gave no tensor."""


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
_LIBRARY.define("probe_operands(Tensor[] values, int site) -> ()")
_LIBRARY.define("probe_attention(Tensor query, Tensor key, Tensor? mask, bool causal, float? scale, int site) -> ()")
_LIBRARY.define("probe_gates(Tensor value, Tensor[] state, Tensor[] weights, int site) -> ()")
_LIBRARY.define("visit(int site) -> ()")
_LIBRARY.impl("probe", _probe, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_optional", _probe_optional, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_list", _probe_list, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_operands", _probe_operands, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_attention", _probe_attention, "CompositeImplicitAutograd")
_LIBRARY.impl("probe_gates", _probe_gates, "CompositeImplicitAutograd")
_LIBRARY.impl("visit", _visit, "CompositeExplicitAutograd")


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Probes are on inside, and off again after it, whatever happened.

    Raises:
        RuntimeError: When somebody listens already.
    """
    if _Line.listener is not None:
        raise RuntimeError("probes are already on in this process; one run at a time")
    _Line.listener = listener
    try:
        yield
    finally:
        _Line.listener = None


@contextmanager
def lent_to(other: Listener) -> Iterator[None]:
    """Somebody else listens inside: another program runs in between."""
    before = _Line.listener
    _Line.listener = other
    try:
        yield
    finally:
        _Line.listener = before


def listener() -> Listener | None:
    """Who listens now."""
    return _Line.listener


def are_on() -> bool:
    """Whether anybody listens."""
    return _Line.listener is not None
