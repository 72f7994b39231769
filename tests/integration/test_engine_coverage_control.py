"""Branches, loops, functions, methods and containers of modules: measured, and equal to eager autograd."""

import enum
from typing import NamedTuple

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # everybody's name for it

from eager_reference import Request, compared, measured, only, sites, unobserved
from gradclinic_engine.measurements import GradientStatus


def x_of(*shape: int) -> torch.Tensor:
    return torch.randn(shape or (3, 4), generator=torch.Generator().manual_seed(7))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)


class While(Pair):
    """How often it goes round depends on the data."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        rounds = 0
        while bool(y.norm() > 0.5) and rounds < 50:
            y = torch.tanh(self.b(y)) * 0.7
            rounds += 1
        return y + rounds


class Break(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for step in range(10):
            y = torch.sigmoid(self.a(y))
            if step == 3:
                break
            if step == 1:
                continue
            y = y + self.b(y)
        return y


class NestedLoops(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        held = (x, (x * 2, x))
        for i in range(3):
            for j in range(2):
                left, (middle, right) = held
                held = (torch.tanh(self.a(left)), (self.b(middle) + i, right - j))
        left, (middle, right) = held
        return left + middle * right


class EarlyReturn(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 1e6):
            return self.b(x)
        for _ in range(3):
            x = torch.relu(self.a(x)) + x
            if bool(x.mean() > 1e6):
                return x
        return x


class Comprehension(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.tanh(self.a(each)) for each in x.unbind(0)]
        scaled = {str(i): part * i for i, part in enumerate(parts)}
        return torch.stack([scaled[key] for key in scaled.keys()]).sum(0)  # noqa: SIM118  # TorchScript needs it


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)])
        self.heads = nn.ModuleDict({"one": nn.Linear(4, 2), "two": nn.Linear(4, 2)})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.layers[0](x)
        for place, layer in enumerate(self.layers):
            if place > 0:
                x = layer(x)
        found: dict[str, torch.Tensor] = {}
        for name, head in self.heads.items():
            found[name] = head(x)
        return found


class Tied(nn.Module):
    """One module called twice, and one weight in two modules."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.embed = nn.Embedding(9, 4)
        self.shared = nn.Linear(4, 4)
        self.again = self.shared
        self.out = nn.Linear(4, 9, bias=False)
        self.out.weight = self.embed.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.again(torch.relu(self.shared(self.embed(x)))))


@torch.jit.script
def gated(x: torch.Tensor, weight: torch.Tensor, times: int) -> torch.Tensor:
    for _ in range(times):
        x = x * torch.sigmoid(F.linear(x, weight))
    return x


def plain_function(x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    if weight is None:
        return x.tanh()
    return gated(x, weight, 2).tanh()


class Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return plain_function(x, self.weight) + plain_function(x)


class Methods(Pair):
    @torch.jit.export
    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.a(x))

    @torch.jit.unused
    def only_in_python(self, x: torch.Tensor) -> torch.Tensor:
        return x.cpu().apply_(lambda each: each)

    @torch.jit.ignore  # type: ignore[untyped-decorator]  # torch gives it no types
    def looks(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.encode(x))


class Unused(Pair):
    """An unused method that forward calls raises where it runs."""

    @torch.jit.unused
    def only_in_python(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        if y.dim() == 9:
            y = self.only_in_python(y)
        return self.b(y)


class Fork(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        waiting = torch.jit.fork(self.a, x)
        own = torch.tanh(self.b(x))
        return own + torch.jit.wait(waiting)


class ForkedList(Pair):
    """Futures in a list, and a fork within what is forked."""

    def each(self, x: torch.Tensor) -> torch.Tensor:
        inner = torch.jit.fork(self.b, x)
        return torch.tanh(self.a(x)) + torch.jit.wait(inner)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        waiting: list[torch.jit.Future[torch.Tensor]] = []
        for part in x.unbind(0):
            waiting.append(torch.jit.fork(self.each, part))  # noqa: PERF401  # an own statement for each
        return torch.stack([torch.jit.wait(each) for each in waiting])


class Mode(enum.Enum):
    SUM = 1
    MEAN = 2


class Enums(Pair):
    def __init__(self, mode: Mode) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == Mode.SUM:
            return self.a(x).sum(1)
        return self.b(x).mean(1)


@torch.jit.script
class Running:
    def __init__(self, start: torch.Tensor) -> None:
        self.total = start
        self.seen: list[torch.Tensor] = []

    def add(self, value: torch.Tensor) -> None:
        self.total = self.total + value
        self.seen.append(value)


class OwnClass(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        running = Running(x)
        for _ in range(3):
            running.add(torch.tanh(self.a(running.total)))
        return running.total + self.b(running.seen[1])


class Helper(Pair):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = torch.sigmoid(self.b(x))
        return torch.tanh(self.a(x)) * target


class Layers(NamedTuple):
    first: torch.Tensor
    last: torch.Tensor | None


class Block(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


def nest(depth: int) -> nn.Module:
    torch.manual_seed(5)
    model: nn.Module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    for _ in range(depth):
        model = Block(model)
    return model


class NamedState(Pair):
    def forward(self, x: torch.Tensor) -> Layers:
        first = self.a(x)
        state = Layers(first, None)
        if first.shape[0] > 1:
            state = Layers(first.tanh(), self.b(state.first))
        return state


class Assigned(Pair):
    """A tuple that several loops hand on, with tensors that may be missing."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state: tuple[torch.Tensor, torch.Tensor] | None = None
        for step in range(3):
            if state is None:
                state = (self.a(x), x)
            else:
                hidden, cell = state
                state = (torch.tanh(self.b(hidden)) + step, cell * torch.sigmoid(hidden))
        assert state is not None
        return state[0] * state[1]


CASES: dict[str, Request] = {
    "while": Request(While(), (x_of(),)),
    "break and continue": Request(Break(), (x_of(),)),
    "nested loops": Request(NestedLoops(), (x_of(),)),
    "early return": Request(EarlyReturn(), (x_of(),)),
    "comprehension": Request(Comprehension(), (x_of(),)),
    "module lists and dicts": Request(Lists(), (x_of(),), output="two", loss="mse_loss", target=x_of(3, 2)),
    "tied": Request(Tied(), (torch.tensor([[1, 2, 8], [0, 2, 2]]),)),
    "functions": Request(Functions(), (x_of(),)),
    "methods": Request(Methods(), (x_of(),)),
    "unused": Request(Unused(), (x_of(),)),
    "enum": Request(Enums(Mode.MEAN), (x_of(),)),
    "own class": Request(OwnClass(), (x_of(),)),
    "no_grad helper": Request(Helper(), (x_of(),)),
    "deep nest": Request(nest(60), (x_of(),)),
    "named tuple": Request(NamedState(), (x_of(),), output="last", loss="mse_loss", target=x_of()),
    "optional state": Request(Assigned(), (x_of(),)),
    "fork": Request(Fork(), (x_of(),)),
    "list of forks": Request(ForkedList(), (x_of(),)),
}
# A trace holds no no_grad, calls no unused method, and names no outputs.
TRACED = {
    name: Request(case.model, case.arguments, "trace", case.loss, case.target, case.output)
    for name, case in CASES.items()
    if name not in {"module lists and dicts", "named tuple", "unused", "no_grad helper"}
}


@pytest.mark.parametrize("case", CASES)
def test_scripted(case: str) -> None:
    compared(CASES[case])


@pytest.mark.parametrize("case", TRACED)
def test_traced(case: str) -> None:
    compared(TRACED[case])


def test_each_round_of_a_loop_has_its_gradient() -> None:
    found = measured(CASES["while"])
    tanh = only(found, "tanh")
    assert tanh.calls > 2
    assert len(tanh.gradient_rms_by_call) == tanh.calls
    # The derivative of each round is below one.
    assert sorted(tanh.gradient_rms_by_call) == list(tanh.gradient_rms_by_call)


def test_what_a_fork_runs_has_its_module() -> None:
    assert ["a", "b"] == [site.module for site in sites(measured(CASES["fork"]), "linear")]
    assert ["b", "a"] == [site.module for site in sites(measured(CASES["list of forks"]), "linear")]


def test_modules_by_index_and_key_have_their_paths() -> None:
    found = measured(CASES["module lists and dicts"])
    assert ["layers.0", "layers.2", "heads.one", "heads.two"] == [site.module for site in sites(found, "linear")]
    missing = {each.name for each in found.parameters if each.status is GradientStatus.MISSING}
    assert {"heads.one.weight", "heads.one.bias"} == missing


def test_a_tied_weight_has_one_gradient_and_all_its_readers() -> None:
    found = measured(CASES["tied"])
    weight = next(each for each in found.parameters if each.name == "embed.weight")
    assert ("out.weight",) == weight.aliases
    assert ["aten::embedding", "aten::linear"] == [found.sites[site].op for site in weight.read_by]
    assert ["shared", "again", "out"] == [site.module for site in sites(found, "linear")]
    assert {site.module for site in found.sites} <= {module.path for module in found.modules}


def test_a_no_grad_region_within_a_script_is_seen() -> None:
    found = measured(CASES["no_grad helper"])
    assert [False] == [site.grad_enabled for site in sites(found, "sigmoid")]
    assert [True] == [site.grad_enabled for site in sites(found, "tanh")]


def test_nothing_is_left_unobserved() -> None:
    for name, request in CASES.items():
        assert ({}, name) == (unobserved(measured(request)), name)
