"""Per-site gradients against the same module run eagerly, where hooks watch each torch function."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from gradclinic_engine import diagnose
from gradclinic_engine.observe.criterion import Criterion
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.torchscript import probe, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradclinic_engine.measurements import Measurements


class Watch(TorchFunctionMode):
    """Keeps the gradient that arrives at each result of some functions, in order of the calls."""

    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names
        self.gradients: dict[str, list[torch.Tensor | None]] = defaultdict(list)

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.__name__ in self.names:
            for each in result if isinstance(result, tuple) else (result,):
                self.keep(self.gradients[func.__name__], each)
        return result

    @staticmethod
    def keep(slots: list[torch.Tensor | None], value: torch.Tensor) -> None:
        place = len(slots)
        slots.append(None)
        if value.requires_grad:
            value.register_hook(lambda gradient: slots.__setitem__(place, gradient))


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.norm(self.convolution(x)))
        y = functional.max_pool2d(y, 2)
        return self.head(y.mean([2, 3]))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 8) / 3)
        self.embed = nn.Linear(5, 8)
        self.lstm = nn.LSTM(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(x.shape[1], 8)
        for step in range(x.shape[0]):
            state = torch.tanh(torch.matmul(state, self.weight) + self.embed(x[step]))
        sequence, _ = self.lstm(self.embed(x))
        return state + sequence[-1]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(12, 36)
        self.norm = nn.LayerNorm(12)
        self.out = nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.project(self.norm(x)).chunk(3, -1)
        weights = torch.softmax(torch.matmul(query, key.transpose(1, 2)) / math.sqrt(12), -1)
        return x + self.out(torch.matmul(weights, value))


CASES = {
    "mlp": (Mlp, (7, 6), {"linear", "tanh", "relu"}),
    "cnn": (Cnn, (4, 3, 12, 12), {"conv2d", "batch_norm", "relu", "max_pool2d", "mean", "linear"}),
    "lstm loop": (Recurrent, (6, 3, 5), {"linear", "tanh", "matmul", "lstm"}),
    "attention": (Attention, (2, 5, 12), {"layer_norm", "softmax", "matmul", "linear"}),
}
# A trace spells some functions in their full form.
SPELLINGS = {"aten::_convolution": "conv2d"}


def observed(model: torch.jit.ScriptModule, x: torch.Tensor, path: Path) -> Measurements:
    torch.jit.save(model, path / "model.pt")
    loaded = torch.jit.load(path / "model.pt")
    prepared = program.prepare(loaded, {"0": x})
    criterion = Criterion("functional", "mse_loss", _apply=lambda read, *_: read[0].square().sum())
    return diagnose.observed(Subject(prepared, (x,), {"0": x}, criterion, 0))


def rms(gradient: torch.Tensor) -> float:
    return float(gradient.double().square().mean().sqrt())


@pytest.mark.parametrize("way", ["scripted", "traced"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_eager_autograd(case: str, way: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    build, shape, names = CASES[case]
    model: nn.Module = build()
    x = torch.randn(shape)
    compiled = torch.jit.script(model) if way == "scripted" else torch.jit.trace(model, x)
    found = observed(compiled, x, tmp_path)

    watch = Watch(names)
    with watch:
        loss = model(x).square().sum()
    loss.backward()

    assert found.loss.value == pytest.approx(float(loss.detach()), rel=1e-5)
    by_call: dict[str, list[float]] = defaultdict(list)
    for site in sorted(found.sites, key=lambda each: each.first_call_order):
        name = SPELLINGS.get(site.op, site.op.removeprefix("aten::"))
        if name in names and site.calls:
            if site.calls > 1:
                by_call[name] += site.gradient_rms_by_call
            elif site.gradient is not None:
                by_call[name].append(site.gradient.rms)
    expected = {
        name: [rms(gradient) for gradient in gradients if gradient is not None]
        for name, gradients in watch.gradients.items()
    }
    assert set(by_call) == names
    # A loop's site holds all its calls, so the order among the sites of one op is not that of the calls.
    assert {name: pytest.approx(sorted(each), rel=1e-3) for name, each in expected.items()} == {
        name: sorted(each) for name, each in by_call.items()
    }
    eager = {name: rms(parameter.grad) for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert {each.name: each.gradient.rms for each in found.parameters if each.gradient is not None} == {
        name: pytest.approx(value, rel=1e-3) for name, value in eager.items()
    }
    assert not probe.are_on()
    assert found.unobserved == ()


def test_calls_in_a_loop_are_told_oldest_first(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = Recurrent()
    x = torch.randn(6, 3, 5)
    found = observed(torch.jit.script(model), x, tmp_path)
    watch = Watch({"tanh"})
    with watch:
        loss = model(x).square().sum()
    loss.backward()
    (site,) = [site for site in found.sites if site.op == "aten::tanh"]
    expected = [rms(gradient) for gradient in watch.gradients["tanh"] if gradient is not None]
    assert site.gradient_rms_by_call == pytest.approx(expected, rel=1e-3)
    assert site.calls == 6


def test_a_parameter_used_twice_gets_one_gradient(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.Linear(4, 4, bias=False)
            self.decode = nn.Linear(4, 4, bias=False)
            self.decode.weight = self.encode.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.decode(torch.tanh(self.encode(x)))

    model, x = Tied(), torch.randn(3, 4)
    found = observed(torch.jit.script(model), x, tmp_path)
    (parameter,) = found.parameters
    model(x).square().sum().backward()
    assert parameter.name == "encode.weight"
    assert parameter.aliases == ("decode.weight",)
    assert [found.sites[site].module for site in parameter.read_by] == ["encode", "decode"]
    assert parameter.gradient is not None
    assert model.encode.weight.grad is not None
    assert parameter.gradient.rms == pytest.approx(rms(model.encode.weight.grad), rel=1e-4)


def test_an_observed_run_leaves_no_gradient_and_no_hook_behind(tmp_path: Path) -> None:
    model, x = Mlp(), torch.randn(3, 6)
    torch.jit.save(torch.jit.script(model), tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    prepared = program.prepare(loaded, {"0": x})
    criterion = Criterion("functional", "mse_loss", _apply=lambda read, *_: read[0].square().sum())
    subject = Subject(prepared, (x,), {"0": x}, criterion, 0)
    assert diagnose.observed(subject) == diagnose.observed(subject)
    for parameter in loaded.parameters():
        assert parameter.grad is None
        assert not parameter._post_accumulate_grad_hooks  # noqa: SLF001  # where torch keeps them
