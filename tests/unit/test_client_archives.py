"""Live modules become archives, and stay as they were."""

from __future__ import annotations

import io
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gradclinic import archives
from gradclinic.errors import BadCall


class Wayward(nn.Module):
    """Cannot be scripted: its forward takes what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.drop = nn.Dropout(0.5)

    def forward(self, *parts: Tensor, **named: Tensor) -> dict[str, Tensor]:
        return {"out": self.drop(self.norm(sum([*parts, *named.values()])))}


class Keyworded(nn.Module):
    """Cannot be scripted: it makes a generator."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return next(x - y for x, y in [(a, b)])


def load(archive: memoryview) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.load(io.BytesIO(archive))


def test_a_scriptable_module_is_scripted_and_the_same_bytes_each_time() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    first, notes = archives.archive_model(model, torch.ones(1, 3))
    second, _ = archives.archive_model(model, torch.ones(1, 3))
    assert [] == notes
    assert bytes(first) == bytes(second)
    assert torch.equal(model.state_dict()["0.weight"], load(first).state_dict()["0.weight"])


def test_a_module_that_cannot_be_scripted_is_traced_and_said_so() -> None:
    model = Wayward()
    torch.get_rng_state()
    archive, notes = archives.archive_model(model, (torch.randn(4, 3) + 9.0, torch.randn(4, 3)))
    assert 1 == len(notes)
    assert notes[0].startswith("The model was traced")
    assert torch.equal(torch.zeros(3), load(archive).state_dict()["norm.running_mean"])


def test_tracing_leaves_statistics_and_generators_alone() -> None:
    model = Wayward()
    inputs = torch.randn(4, 3) + 9.0
    random = torch.get_rng_state()
    archives.archive_model(model, inputs)
    assert torch.equal(random, torch.get_rng_state())
    assert [0.0, 0.0, 0.0] == model.state_dict()["norm.running_mean"].tolist()
    assert 0 == model.norm.num_batches_tracked
    assert model.training


def test_keywords_and_arrays_are_traced() -> None:
    archive, notes = archives.archive_model(Keyworded(), {"b": torch.ones(4, 3), "a": [[1.0, 2.0, 3.0]] * 4})
    assert 1 == len(notes)
    assert [[0.0, 1.0, 2.0]] == load(archive)(a=torch.tensor([[1.0, 2.0, 3.0]]), b=torch.ones(1, 3)).tolist()


def test_shells_are_taken_off() -> None:
    inner = nn.Linear(3, 2)
    archive, notes = archives.archive_model(nn.DataParallel(inner), torch.ones(1, 3))
    assert ["weight", "bias"] == [name for name, _ in load(archive).named_parameters()]
    assert ["What DataParallel wraps was diagnosed: module paths are those of the inner module."] == notes


def test_a_module_that_can_be_neither_is_refused_with_both_reasons() -> None:
    class Broken(nn.Module):
        def forward(self, *_: Tensor) -> Tensor:
            raise RuntimeError("no way")

    with pytest.raises(BadCall, match=r"Broken can neither be scripted .* nor traced .*no way"):
        archives.archive_model(Broken(), torch.ones(1))


def test_a_scriptable_module_goes_with_inputs_that_are_a_file_or_no_tensors() -> None:
    for inputs in ("batch.safetensors", None, ["text"]):  # what is wrong with inputs is for `inputs` to say
        assert [] == archives.archive_model(nn.Linear(3, 2), inputs)[1]


def test_a_module_that_has_to_be_traced_needs_inputs_that_are_tensors() -> None:
    with pytest.raises(BadCall, match=r"Wayward can neither be scripted .* \(a file; pass tensors to have the model"):
        archives.archive_model(Wayward(), "batch.safetensors")


def test_a_loss_module_is_scripted() -> None:
    loss = load(archives.archive_loss(nn.SmoothL1Loss(beta=2.0)))
    assert 0.25 == loss(torch.tensor([1.0]), torch.tensor([2.0])).item()


def test_a_loss_that_cannot_be_scripted_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, *parts: Tensor) -> Tensor:
            return sum(parts)  # type: ignore[return-value]  # deliberately unscriptable

    with pytest.raises(BadCall, match="loss: Odd cannot be scripted"):
        archives.archive_loss(Odd())
