"""Models with values that Python cannot have where they are diagnosed, or that hold no tensor: they pass as opaque."""

from __future__ import annotations

import enum
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional

import pytest
import torch
from torch import nn

from gradclinic.v1 import finding_pb2
from zoo import run, snapshot
from zoo.case import Built, Case

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# TorchScript reads annotations as objects.
# ruff: noqa: UP006, UP035, UP045


class Layout(enum.Enum):
    FIRST = "first"
    LAST = "last"


class EnumerationAsAttribute(nn.Module):
    """As the patch embeddings of timm."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 4, 4)
        self.layout = Layout.LAST

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        if self.layout == Layout.LAST:
            x = x.permute(0, 2, 3, 1)
        return x.mean((1, 2))


class EnumerationAsConstant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        layout = Layout.FIRST if x.shape[0] > 3 else Layout.LAST
        y = self.layer(x)
        return y * 2 if layout == Layout.FIRST else y


class EnumerationsInContainers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)
        self.all: List[Layout] = [Layout.FIRST, Layout.LAST]
        self.by_name: Dict[str, Layout] = {"first": Layout.FIRST}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        for each in self.all:
            if each == self.by_name["first"]:
                y = y + 1
        return y


@torch.jit.script
class Recipe:
    """As the recipe in a layer of einops."""

    def __init__(self, sizes: List[int], weight: torch.Tensor) -> None:
        self.sizes = sizes
        self.weight = weight

    def applied(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(self.sizes) * self.weight


class ObjectAsAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)
        self.recipe = Recipe([-1, 5], torch.full((5,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.recipe.applied(self.layer(x))


# As a class its annotations would be text, which torch.jit does not read.
Scale = NamedTuple("Scale", [("factors", List[float]), ("weight", Optional[torch.Tensor])])  # noqa: UP014


class NamedTupleAsAttribute(nn.Module):
    __annotations__ = {"scale": Scale}

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)
        self.scale = Scale([2.0], torch.full((5,), 2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x) * self.scale.factors[0]
        weight = self.scale.weight
        return y if weight is None else y * weight


class WritesIntoLists(nn.Module):
    """Lists whose items are not known before it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        shape = y.shape
        shape[0] = 1
        pad = [0 for _ in range(len(shape))]
        pad[1] = 1
        labels: List[int] = torch.jit.annotate(List[int], y.argmax(1).tolist())
        labels[0] = 2
        return nn.functional.pad(y, pad)[:, :5] + torch.zeros(shape) + labels[0]


def image() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16)


def row() -> torch.Tensor:
    return torch.randn(4, 4)


MODELS = {
    EnumerationAsAttribute: image,
    EnumerationAsConstant: row,
    EnumerationsInContainers: row,
    ObjectAsAttribute: row,
    NamedTupleAsAttribute: row,
    WritesIntoLists: row,
}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process that has never seen the classes in here, as an executor."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("model", MODELS)
def test_a_model_with_such_values_is_diagnosed(
    model: type[nn.Module], elsewhere: ProcessPoolExecutor, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    built = Built(model(), (MODELS[model](),), torch.arange(4), "cross_entropy")
    case = Case(model.__name__, "script", lambda: built, None, None)
    result = elsewhere.submit(run.analysed, run.laid_out(case, built, tmp_path, "standard")).result()
    assert (finding_pb2.VERDICT_HEALTHY, {"layer.weight", "layer.bias"}) == (
        result.verdict,
        {each.name for each in result.parameters},
    )
    assert {True} == {each.gradient.element_count > 0 for each in result.parameters}


class EnumerationAsDefault(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor, layout: Layout = Layout.FIRST) -> torch.Tensor:
        y = self.layer(x)
        return y * 2 if layout == Layout.FIRST else y


def test_a_default_that_cannot_be_made_is_refused_by_the_name_of_its_argument(
    elsewhere: ProcessPoolExecutor, tmp_path: Path
) -> None:
    built = Built(EnumerationAsDefault(), (row(),), torch.arange(4), "cross_entropy")
    case = Case("default", "script", lambda: built, None, None)
    answer = elsewhere.submit(snapshot.answer, run.laid_out(case, built, tmp_path, "standard")).result()
    assert answer.startswith("failed | AnalysisError: inputs: `layout` has a default of the type ")
