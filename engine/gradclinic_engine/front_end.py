"""What a front end delivers: the graph of a program, and a way to run it with listeners and edits.

Nothing above a front end knows which one it was, but for the facts that a program declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from gradclinic_engine.graph.sites import Sources, StaticSite
    from gradclinic_engine.measurements import Module


@dataclass(frozen=True, slots=True)
class Facts:
    """What is true of a program because of where it came from."""

    has_optimising_executor: bool  # training runs it with another executor than `Program.run`
    executors_agree: bool  # that one computes the same gradients, as long as all numbers are ordinary ones


@dataclass(frozen=True, slots=True)
class AttentionCall:
    """What a fused attention weighs by; shapes as in `torch.nn.functional.scaled_dot_product_attention`."""

    query: torch.Tensor
    key: torch.Tensor
    mask: torch.Tensor | None
    is_causal: bool
    scale: float | None


class Listener(Protocol):
    """What is called at each site while a program runs."""

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


class Program(Protocol):
    """A model or a loss that can be run under observation.

    Attributes:
        sites: In program order.
        sources: Parameters, buffers and inputs by atom.
        results: The sites that what it returns comes from.
        parameters: By name, each once.
        parameter_names: The same with further names of tied parameters, in the order of the modules.
        buffers: By name.
        modules: In the order of `named_modules()`.
        unobserved: What could not be looked into, and why.
        facts: See `Facts`.
        raises: What running it, or the backward pass after it, may raise.
    """

    @property
    def sites(self) -> tuple[StaticSite, ...]: ...  # noqa: D102 - the class says it
    @property
    def sources(self) -> Sources: ...  # noqa: D102
    @property
    def results(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def parameters(self) -> Mapping[str, torch.nn.Parameter]: ...  # noqa: D102
    @property
    def parameter_names(self) -> Mapping[str, torch.nn.Parameter]: ...  # noqa: D102
    @property
    def buffers(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102
    @property
    def modules(self) -> tuple[Module, ...]: ...  # noqa: D102
    @property
    def unobserved(self) -> tuple[tuple[str, str], ...]: ...  # noqa: D102
    @property
    def facts(self) -> Facts: ...  # noqa: D102
    @property
    def raises(self) -> tuple[type[Exception], ...]: ...  # noqa: D102

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """As of `Loaded`."""

    def run(self, arguments: Sequence[object], listener: Listener | None = None) -> object:
        """What forward returns; the listener is off again after it, whatever happened."""

    def origins(self, output: object, read: Sequence[torch.Tensor]) -> tuple[int, ...]:
        """The sites that some tensors of an output come from; all of them where the structure is not known."""

    def said(self, error: BaseException) -> tuple[str, str]:
        """The error's own words, and its trace or ""."""

    def without_batch_statistics(self) -> Program:
        """A copy in which batch normalisation uses its running statistics, where it has any."""


class Loaded(Protocol):
    """A model or a loss that was loaded, and can still be called without being observed."""

    @property
    def parameters(self) -> Mapping[str, torch.nn.Parameter]: ...  # noqa: D102 - as of `Program`
    @property
    def buffers(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102
    @property
    def raises(self) -> tuple[type[Exception], ...]: ...  # noqa: D102

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """The arguments of forward in their order, by the names they were sent with.

        Raises:
            AnalysisError: BAD_INPUTS when an argument is missing, given twice, or of the wrong kind.
        """

    def prepare(self, arguments: Mapping[str, object]) -> Program:
        """The program that runs with such arguments; they are not kept."""

    def __call__(self, *arguments: object) -> object:
        """What it returns, run as training would run it."""


# Loads a file; the second argument is the field of the request that it came in, for errors.
Load: TypeAlias = "Callable[[str, str], Loaded]"
