"""Where numbers stay on the device until the run is over, no probe and no hook reads one back before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from gradclinic_engine.observe import observe, observe_table
from gradclinic_engine.observe.criterion import Criterion
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.torchscript import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradclinic_engine.measurements import Measurements, Statistics

# Operators whose result, or its size, only the device knows: the program stands still until it is there.
WAITING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "unique_dim", "_unique2")
# They reach a tensor's memory past the dispatcher.
READING_METHODS = ("numpy", "tolist", "item", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__")


class ReadBacks(TorchDispatchMode):
    """Notes the operators that would wait for a device."""

    def __init__(self, seen: set[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch left it so
        self.seen = seen

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, given = func.overloadpacket.__name__, kwargs or {}
        moves = name == "_to_copy" and given.get("device") not in (None, args[0].device)
        if name in WAITING or moves or (name == "copy_" and args[0].device != args[1].device):
            self.seen.add(name)
        return func(*args, **given)


class Model(nn.Module):
    """Something of each kind that probes look at in a way of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.frozen = nn.BatchNorm2d(8).eval()
        self.drop = nn.Dropout(0.25)
        self.twins = nn.Linear(8, 16)
        nn.init.constant_(self.twins.weight, 0.1)  # so that its gradient is looked through for copies
        self.cell = nn.LSTM(16, 16, batch_first=True)
        self.again = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = functional.relu6(self.frozen(x)) + 1
        x = x.clamp(-1.0, 2.0).flatten(2).transpose(1, 2)
        x = self.drop(torch.tanh(self.twins(x)))
        x = functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        x, _ = self.cell(x)
        for _step in range(3):
            x = torch.sigmoid(self.again(x))
        first, second = x.mean(1).chunk(2, -1)
        x = torch.cat([first.half().float(), second], -1)
        return self.head(x)


def subject(path: Path) -> Subject:
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(Model()), path / "model.pt")
    loaded = torch.jit.load(path / "model.pt")
    x = torch.randn(8, 3, 8, 8)
    prepared = program.prepare(loaded, {"0": x}, archive_path=str(path / "model.pt"))
    criterion = Criterion("functional", "mse_loss", _apply=lambda read, *_: read[0].square().mean())
    return Subject(prepared, (x,), {"0": x}, criterion, 0)


def run(path: Path, *, is_immediate: bool) -> Measurements:
    observed = subject(path)
    made = observe._run(observed, lambda _stage, _progress: None, is_immediate=is_immediate)  # noqa: SLF001 - where devices branch off
    return observe_table.measurements(observed, made)


@pytest.fixture
def read_back(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """What was read back during forward and backward."""
    seen: set[str] = set()

    def noted(name: str) -> Callable[..., Any]:
        original = getattr(torch.Tensor, name)

        def method(*arguments: Any, **keywords: Any) -> Any:
            seen.add(name)
            return original(*arguments, **keywords)

        return method

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        def inside(*arguments: Any) -> Any:
            with pytest.MonkeyPatch.context() as patch, ReadBacks(seen):
                for name in READING_METHODS:
                    patch.setattr(torch.Tensor, name, noted(name))
                return original(*arguments)

        return inside

    for name in ("_forward", "_backward"):
        monkeypatch.setattr(observe, name, watched(getattr(observe, name)))
    return seen


def test_no_probe_waits_for_the_device(read_back: set[str], tmp_path: Path) -> None:
    found = run(tmp_path, is_immediate=False)
    assert all(parameter.gradient is not None for parameter in found.parameters)
    assert set() == read_back


def test_what_is_read_back_at_once_is_seen(read_back: set[str], tmp_path: Path) -> None:
    run(tmp_path, is_immediate=True)
    assert {"item", "numpy", "_local_scalar_dense"} <= read_back


def test_what_is_read_back_at_the_end_is_the_same(tmp_path: Path) -> None:
    now, later = run(tmp_path, is_immediate=True), run(tmp_path, is_immediate=False)
    assert len(now.sites) == len(later.sites)
    for one, other in zip(now.sites, later.sites, strict=True):
        assert (one.calls, one.shape, one.is_view) == (other.calls, other.shape, other.is_view)
        assert numbers(one.activation) == pytest.approx(numbers(other.activation), rel=1e-4, abs=1e-7, nan_ok=True)
        assert numbers(one.gradient) == pytest.approx(numbers(other.gradient), rel=1e-4, abs=1e-7, nan_ok=True)
        assert one.dead_unit_share == other.dead_unit_share
        assert one.flat_share == pytest.approx(other.flat_share)
        assert one.softness == pytest.approx(other.softness)
        assert one.gradient_rms_by_call == pytest.approx(other.gradient_rms_by_call, rel=1e-4)


def numbers(seen: Statistics | None) -> list[float]:
    return (
        [seen.element_count, seen.nonfinite_count, seen.zero_count, seen.mean, seen.rms, seen.min, seen.max]
        if seen
        else []
    )
