"""Where values come from: branches, loops, containers, views and in-place writes, attributes, shared modules."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Dict, List, Tuple  # noqa: UP035  # TorchScript reads these at run time

import pytest
import torch
from torch import nn
from torch.nn import functional

from gradclinic_engine import diagnose
from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.measurements import GradientStatus
from gradclinic_engine.observe.criterion import Criterion, build
from gradclinic_engine.observe.observe_run import Subject
from gradclinic_engine.request import Request
from gradclinic_engine.torchscript import archive, probe, program

if TYPE_CHECKING:
    from pathlib import Path

    from gradclinic_engine.measurements import Measurements, Site


def observed(model: nn.Module, path: Path, *arguments: object, output: str = "") -> Measurements:
    torch.jit.save(torch.jit.script(model), path / "model.pt")
    loaded = torch.jit.load(path / "model.pt")
    named = {str(i): argument for i, argument in enumerate(arguments)}
    prepared = program.prepare(loaded, named, archive_path=str(path / "model.pt"))
    inputs = {name: argument for name, argument in named.items() if isinstance(argument, torch.Tensor)}
    criterion = Criterion("functional", "mse_loss", output=output, _apply=lambda read, *_: read[0].square().mean())
    return diagnose.observed(Subject(prepared, arguments, inputs, criterion, 0))


def only(found: Measurements, op: str) -> Site:
    (site,) = [site for site in found.sites if site.op == op]
    return site


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)


class InPlaceSlice(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y[0] = self.b(x)[0]
        return torch.tanh(y)


def test_a_write_into_a_slice_reaches_readers_of_the_whole(tmp_path: Path) -> None:
    found = observed(InPlaceSlice(), tmp_path, torch.randn(3, 4))
    read = only(found, "aten::tanh")
    assert read.reached_by == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert only(found, "aten::copy_").index in read.operands
    assert only(found, "aten::copy_").gradient is not None


class Overwrite(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        y.copy_(self.b(x))
        return torch.tanh(y)


def test_what_is_written_over_is_read_no_more(tmp_path: Path) -> None:
    found = observed(Overwrite(), tmp_path, torch.randn(3, 4))
    assert only(found, "aten::tanh").reached_by == {"b.weight", "b.bias"}
    first, second = (site for site in found.sites if site.op == "aten::linear")
    assert (first.reaches_loss, second.reaches_loss) == (False, True)
    statuses = {each.name: each.status for each in found.parameters}
    assert statuses["a.weight"] == GradientStatus.ZERO  # autograd has a path, and nothing flows along it
    assert statuses["b.weight"] == GradientStatus.FLOWING


class WriteThroughView(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.a(x)
        flat = y.view(-1)
        flat.mul_(self.b(x).view(-1))
        return torch.tanh(y)


def test_a_write_into_a_view_reaches_the_base(tmp_path: Path) -> None:
    found = observed(WriteThroughView(), tmp_path, torch.randn(3, 4))
    read = only(found, "aten::tanh")
    assert read.operands == (only(found, "aten::mul_").index,)
    assert len(read.reached_by) == 4
    assert [site.is_view for site in found.sites if site.op == "aten::view"] == [True, True]
    assert all(site.activation is None for site in found.sites if site.is_view)


class Branch(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if bool(x.sum() > 0):  # noqa: SIM108  # the branch is what is tested
            y = self.a(x)
        else:
            y = self.b(x).detach()
        return torch.tanh(y)


def test_a_branch_joins_both_and_measures_what_ran(tmp_path: Path) -> None:
    found = observed(Branch(), tmp_path, torch.ones(3, 4))
    assert only(found, "aten::tanh").reached_by == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert [site.calls for site in found.sites if site.op == "aten::linear"] == [1, 0]
    detached = only(found, "aten::detach")
    assert (detached.calls, detached.is_view) == (0, False)


class Loop(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept: List[torch.Tensor] = []  # noqa: UP006
        state = x
        for _ in range(5):
            state = torch.tanh(self.a(state))
            kept.append(state)
        return torch.stack(kept).sum(0)


def test_a_loop_hands_values_on_and_counts_its_calls(tmp_path: Path) -> None:
    found = observed(Loop(), tmp_path, torch.randn(3, 4))
    linear, tanh = only(found, "aten::linear"), only(found, "aten::tanh")
    assert linear.operands == (tanh.index,)
    assert linear.inputs == ("0",)
    assert (linear.calls, len(linear.gradient_rms_by_call)) == (5, 5)
    assert only(found, "aten::stack").operands == (tanh.index,)


class Containers(Base):
    def forward(
        self,
        batch: dict[str, torch.Tensor],
        pair: Tuple[torch.Tensor, torch.Tensor],  # noqa: UP006
    ) -> Dict[str, torch.Tensor]:  # noqa: UP006
        left, right = pair
        held = {"used": self.a(batch["x"]), "unused": self.b(left)}
        return {"logits": torch.tanh(held["used"]) + right, "extra": torch.sigmoid(held["unused"])}


def test_containers_keep_their_entries_apart(tmp_path: Path) -> None:
    x = torch.randn(3, 4)
    found = observed(Containers(), tmp_path, {"x": x, "y": x}, (x, x), output="logits")
    assert only(found, "aten::tanh").reached_by == {"a.weight", "a.bias"}
    assert only(found, "aten::sigmoid").reached_by == {"b.weight", "b.bias"}
    assert only(found, "aten::add").inputs == ("1.1",)
    assert [site.inputs for site in found.sites if site.op == "aten::linear"] == [("0.x",), ("1.0",)]
    assert found.loss.outputs == (only(found, "aten::add").index,)
    assert not only(found, "aten::sigmoid").reaches_loss


class NoGrad(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = torch.tanh(self.a(x))
        return self.b(y)


def test_a_no_grad_region_is_seen(tmp_path: Path) -> None:
    found = observed(NoGrad(), tmp_path, torch.randn(3, 4))
    inside = only(found, "aten::tanh")
    assert (inside.grad_enabled, inside.requires_grad, inside.reaches_loss) == (False, False, True)
    outside = found.sites[found.loss.outputs[0]]
    assert (outside.grad_enabled, outside.requires_grad) == (True, True)


class State(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("memory", torch.zeros(3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.memory = self.a(x)
        return torch.tanh(self.memory)


def test_an_assigned_attribute_is_followed(tmp_path: Path) -> None:
    found = observed(State(), tmp_path, torch.randn(3, 4))
    assert only(found, "aten::tanh").operands == (only(found, "aten::linear").index,)


class Item(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale = float(self.a(x).sum().item())
        return self.b(x) * scale


def test_a_number_read_out_of_a_tensor_is_a_site(tmp_path: Path) -> None:
    found = observed(Item(), tmp_path, torch.randn(3, 4))
    item = only(found, "aten::item")
    assert item.reached_by == {"a.weight", "a.bias"}
    assert item.calls == 1
    assert item.index in only(found, "aten::mul").operands


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.linear(x))


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.tail = nn.Sequential(Block(), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return functional.softplus(self.tail(x))


def test_modules_of_one_type_have_their_own_paths(tmp_path: Path) -> None:
    found = observed(Deep(), tmp_path, torch.randn(3, 4))
    assert [site.module for site in found.sites if site.op == "aten::relu"] == [
        "blocks.0.act",
        "blocks.1.act",
        "tail.0.act",
    ]
    assert {site.module for site in found.sites} <= {module.path for module in found.modules}
    assert only(found, "aten::softplus").module == ""


def test_source_lines_are_the_users(tmp_path: Path) -> None:
    found = observed(Deep(), tmp_path, torch.randn(3, 4))
    lines = {site.op: site.source for site in found.sites}
    for op, text in (
        ("aten::relu", "return self.act(self.linear(x))"),
        ("aten::softplus", "return functional.softplus(self.tail(x))"),
    ):
        source = lines[op]
        assert source is not None
        assert (source.file, source.text) == (__file__, text)
        with open(__file__, encoding="utf-8") as file:  # noqa: PTH123  # the very file that torch recorded
            assert file.read().splitlines()[source.line - 1].strip() == text


class FunctionalRelu(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.a(x))
        return functional.relu(y)


def test_source_lines_of_functional_calls_survive_loading(tmp_path: Path) -> None:
    found = observed(FunctionalRelu(), tmp_path, torch.randn(3, 4))
    assert [site.source.text for site in found.sites if site.op == "aten::relu" and site.source] == [
        "y = functional.relu(self.a(x))",
        "return functional.relu(y)",
    ]


class Raises(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = torch.matmul(self.a(x), torch.ones(3, 3))
        return torch.tanh(y)


def test_probes_are_off_and_modes_are_back_when_the_model_raises(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError) as caught:
        observed(Raises(), tmp_path, torch.randn(3, 4))
    assert caught.value.reason == FailureReason.FORWARD_ERROR
    assert "mat1 and mat2 shapes cannot be multiplied" in caught.value.message
    assert "torch.matmul(self.a(x), torch.ones(3, 3))" in caught.value.trace
    assert not probe.are_on()
    assert torch.is_grad_enabled()


class Detached(Base):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x).argmax(-1).float()


def test_an_output_without_gradient_still_gives_measurements(tmp_path: Path) -> None:
    found = observed(Detached(), tmp_path, torch.randn(3, 4))
    assert not found.loss.requires_grad
    assert {each.status for each in found.parameters} == {GradientStatus.MISSING}
    assert [site.requires_grad for site in found.sites] == [True, False, False]


class Poles(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x) + self.a(x)


def test_the_element_that_became_nonfinite_is_named_with_its_operand(tmp_path: Path) -> None:
    x = torch.ones(3, 4)
    x[1, 2] = 0.0
    found = observed(Poles(), tmp_path, x)
    log, add = only(found, "aten::log"), only(found, "aten::add")
    assert log.culprit is not None
    assert (log.culprit.index, log.culprit.value, log.culprit.operand_values) == ((1, 2), float("-inf"), (0.0,))
    assert (log.operands_finite, add.operands_finite) == (True, False)
    assert log.nonfinite_order < add.nonfinite_order


def test_complex_values_are_listed_as_unobserved(tmp_path: Path) -> None:
    class Spectrum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(self.a(x)).abs()

    found = observed(Spectrum(), tmp_path, torch.randn(3, 8))
    assert [what.partition(" ")[0] for what, _ in found.unobserved] == ["aten::fft_fft"]
    assert found.parameters[0].status == GradientStatus.FLOWING


def test_a_very_large_graph_is_prepared_and_run(tmp_path: Path) -> None:
    class Many(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.a(x)
            for _ in range(5000):
                y = torch.tanh(y + x)
            return y

    x = torch.randn(3, 4)
    torch.jit.save(torch.jit.trace(Many(), x, check_trace=False), tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    prepared = program.prepare(loaded, {"0": x})
    criterion = build(
        Request("", ""), device=torch.device("cpu"), load=partial(archive.open_archive, device=torch.device("cpu"))
    )
    found = diagnose.observed(Subject(prepared, (x,), {"0": x}, criterion, 0))
    assert len(found.sites) == 10_001
    assert all(site.gradient is not None and site.reaches_loss for site in found.sites)
