"""Arguments, outputs, buffers and randomness: measured, equal to eager autograd, and the same twice."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it

from eager_reference import Request, compared, diagnosed, measured, only, sites, unobserved
from gradclinic_engine.measurements import GradientStatus
from observed_models import FORMS, Form


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (3, 4), generator=torch.Generator().manual_seed(7))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)


class Batch(NamedTuple):
    x: torch.Tensor
    mask: torch.Tensor | None


class Nested(Pair):
    def forward(
        self, pair: tuple[torch.Tensor, list[torch.Tensor]], by_name: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        first, rest = pair
        total = self.a(first)
        for each in rest:
            total = total + self.b(each)
        return total, {"scaled": total * by_name["scale"], "plain": by_name["x"]}


class NamedInput(Pair):
    def forward(self, batch: Batch) -> torch.Tensor:
        y = self.a(batch.x)
        mask = batch.mask
        if mask is not None:
            y = y * mask
        return y


class Missing(Pair):
    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        y = self.a(x)
        if mask is not None:
            y = self.b(y) * mask
        if bias is not None:
            y = y + bias
        return y


class Plain(Pair):
    """Numbers, flags, texts and lists of numbers."""

    def forward(  # noqa: PLR0913, PLR0917  # one of each kind
        self,
        x: torch.Tensor,
        times: int,
        rate: float,
        flag: bool,  # noqa: FBT001  # a model's flag
        sizes: list[int],
        mode: str = "tanh",
    ) -> torch.Tensor:
        for _ in range(times):
            x = torch.tanh(self.a(x)) if mode == "tanh" else self.b(x)
        if flag:
            x = x * rate
        return x.view(sizes)


class ByNumber(Pair):
    def forward(self, parts: dict[int, torch.Tensor]) -> torch.Tensor:
        return self.a(parts[3]) + self.b(parts[1])


class Several(Pair):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None, list[torch.Tensor]]:
        return self.a(x), None, [self.b(x), x.argmax(1)]


class Unions(Pair):
    def forward(self, x: Any) -> torch.Tensor:
        assert isinstance(x, torch.Tensor)
        return self.a(x)


class Counting(nn.Module):
    """Its output depends on how often it was called, and its shape on a counter."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.norm = nn.BatchNorm1d(4)
        self.a = nn.Linear(4, 4)
        self.calls: torch.Tensor
        self.memory: torch.Tensor
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("memory", torch.zeros(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.memory.mul_(0.5).add_(x.detach())
        y = self.norm(self.a(x)) + self.memory
        return y[: int(self.calls.item())]


class Growing(Pair):
    """A plain attribute that forward changes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return self.a(x)[: self.seen] * float(self.seen)


class Random(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.dropout(self.a(x), 0.5, training=self.training) + torch.randn_like(x)
        return self.b(y) * torch.bernoulli(torch.full_like(y, 0.5))


class Lookup(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table: torch.Tensor
        self.register_buffer("table", torch.arange(12).reshape(4, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.table[x]


class Quantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow = torch.quantize_per_tensor(self.a(x), 0.1, 0, torch.qint8)
        return narrow.dequantize() + self.a(x)


class Sparse(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sparse.mm(torch.eye(3).to_sparse(), self.a(x))


class NeverCalled(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 1e9):
            return self.b(x)
        return self.a(x)


CASES: dict[str, Request] = {
    "nested": Request(
        Nested(),
        ((x_of(), [x_of() + 1, x_of() - 1]), {"scale": x_of(), "x": x_of()}),
        loss="mse_loss",
        target=x_of(),
        output="1.scaled",
    ),
    "named tuple": Request(NamedInput(), (Batch(x_of(), x_of().sign()),)),
    "named tuple with a gap": Request(NamedInput(), (Batch(x_of(), None),)),
    "nothing for optionals": Request(Missing(), (x_of(),)),
    "a gap among optionals": Request(Missing(), (x_of(), None, x_of())),
    "plain values": Request(Plain(), (x_of(), 3, 0.5, True, [4, 3])),
    "by number": Request(ByNumber(), ({1: x_of(), 3: x_of() + 1},)),
    "one of several": Request(Several(), (x_of(),), loss="mse_loss", target=x_of(), output="2.0"),
    "anything": Request(Unions(), (x_of(),)),
    "counting": Request(Counting(), (x_of(),)),
    "growing": Request(Growing(), (x_of(),)),
    "random": Request(Random(), (x_of(),)),
    "sparse": Request(Sparse(), (x_of(),)),
    "branch that never runs": Request(NeverCalled(), (x_of(),)),
}
TRACEABLE = ("nothing for optionals", "random", "sparse", "branch that never runs")


@pytest.mark.parametrize("case", CASES)
def test_scripted(case: str) -> None:
    compared(CASES[case])


@pytest.mark.parametrize("case", TRACEABLE)
def test_traced(case: str) -> None:
    compared(Request(CASES[case].model, CASES[case].arguments, "trace"))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", ["counting", "random"])
def test_the_same_request_twice_gives_the_same_bytes(case: str, form: Form) -> None:
    first, second = diagnosed(Request(CASES[case].model, CASES[case].arguments, form))
    assert first == second


def test_what_is_random_is_said() -> None:
    (note,) = [note for note in measured(CASES["random"]).notes if "seed" in note]
    assert "aten::dropout" in note
    assert "seed 1" in note
    assert not [note for note in measured(CASES["sparse"]).notes if "seed" in note]


def test_only_the_output_that_the_loss_reads_gives_gradients() -> None:
    found = measured(CASES["one of several"])
    assert {"a.weight", "a.bias"} == {each.name for each in found.parameters if each.status is GradientStatus.MISSING}
    assert ["b"] == [site.module for site in sites(found, "linear") if site.reaches_loss]


def test_an_integer_model_is_answered() -> None:
    found = measured(Request(Lookup(), (torch.tensor([0, 3]),)))
    assert ((), False) == (found.parameters, found.loss.requires_grad)


def test_quantized_values_are_listed_with_the_reason() -> None:
    found = measured(Request(Quantized(), (x_of(),)))
    (why,) = [why for what, why in unobserved(found).items() if what.startswith("aten::quantize_per_tensor")]
    assert "quantized" in why
    assert all(each.status is GradientStatus.FLOWING for each in found.parameters)


def test_sparse_values_are_listed_with_the_reason() -> None:
    found = measured(CASES["sparse"])
    (why,) = unobserved(found).values()
    assert "sparse" in why
    assert only(found, "to_sparse").activation is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*quantiz:UserWarning")
def test_a_quantized_module_is_answered_with_a_clear_message() -> None:
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4), nn.Tanh()), {nn.Linear})
    found = measured(Request(model, (x_of(),)))
    (why,) = [why for what, why in unobserved(found).items() if what.startswith("quantized::linear_dynamic")]
    assert "diagnose the model as it was before" in why
    assert found.leak is None
