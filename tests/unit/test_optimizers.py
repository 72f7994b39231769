"""The table of optimizers agrees with torch.optim."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch

from gradclinic_engine.optimizers import OPTIMIZERS, setting_problem

CLASSES = {
    name.lower(): kind
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
}
PINNED = re.search(r"^torch==(\S+)$", (Path(__file__).parents[2] / "constraints.txt").read_text(), re.MULTILINE)


def parameters(kind: type) -> dict[str, inspect.Parameter]:
    return {name: each for name, each in inspect.signature(kind).parameters.items() if name != "params"}


@pytest.mark.parametrize("name", CLASSES)
def test_what_torch_takes_is_taken(name: str) -> None:
    for setting, parameter in parameters(CLASSES[name]).items():
        assert setting_problem(name, setting, parameter.default) is None


def test_nothing_else_is_taken() -> None:
    if PINNED is None or torch.__version__.partition("+")[0] != PINNED[1]:
        pytest.skip("older versions of torch have fewer optimizers and settings")
    assert {name: set(settings) for name, settings in OPTIMIZERS.items()} == {
        name: set(parameters(kind)) for name, kind in CLASSES.items()
    }
