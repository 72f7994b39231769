"""An instrumented program runs as it was written: each operation with its own place in the graph of autograd."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from torch import nn

from eager_reference import LOAD, named_tensors
from observed_models import FORMS, Form


class Branches(nn.Module):
    """A loop, a branch, chunks, a constant of rank 0, and a result that nobody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in range(3):
            x = torch.relu(self.layer(x)) if step % 2 == 0 else torch.sigmoid(self.layer(x)) * torch.tensor(2.0)
        torch.exp(x)
        left, right = x.chunk(2, dim=1)
        return left * right + left.clone()


class Steps(nn.Module):
    """A recurrent layer and a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.norm = nn.LSTM(8, 8, batch_first=True), nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.rnn(x)[0])


MODELS = {
    "branches": (Branches, (16, 8)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten()),
        (4, 3, 8, 8),
    ),
    "dropout": (lambda: nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5), nn.GELU(), nn.Linear(8, 8)), (16, 8)),
    "recurrence": (Steps, (4, 5, 8)),
    "attention": (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (4, 5, 8)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("make", "shape"), MODELS.values(), ids=MODELS)
def test_values_gradients_and_the_graph_of_autograd_are_those_of_eager_mode(
    make: type[nn.Module], shape: tuple[int, ...], form: Form
) -> None:
    torch.manual_seed(0)
    model, x = make(), torch.randn(shape)
    with tempfile.TemporaryDirectory() as scratch:
        compiled = torch.jit.script(model) if form == "script" else torch.jit.trace(model, x, check_trace=False)
        torch.jit.save(compiled, Path(scratch) / "model")
        loaded = LOAD(str(Path(scratch) / "model"), "model")
        arguments = loaded.bind(named_tensors((x,)))
        program = loaded.prepare(arguments)
        torch.manual_seed(1)
        output = program.run(list(arguments.values()))
    torch.manual_seed(1)
    expected = model(x)
    assert isinstance(output, torch.Tensor)
    assert torch.equal(expected, output)
    assert autograd_graph(expected) == autograd_graph(output)
    expected.square().sum().backward()
    output.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        found = program.parameters[name].grad
        assert found is not None
        assert torch.equal(parameter.grad, found)


def autograd_graph(tensor: torch.Tensor) -> list[str]:
    """The names of all nodes of its graph, each once, depth first."""
    names: list[str] = []
    seen: set[object] = set()
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            names.append(node.name().rstrip("0123456789"))  # a trace names another overload of the same operator
            waiting += [before for before, _ in node.next_functions]
    return names
