"""The loss of a request, called with the output of a model."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.observe import criterion
from gradclinic_engine.request import LossRequest, Request
from gradclinic_engine.torchscript import archive

CPU = torch.device("cpu")
LOAD = partial(archive.open_archive, device=CPU)
LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]], requires_grad=True)
CLASSES = torch.tensor([0, 2])


class Halved(torch.nn.Module):
    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((output - target) ** 2).mean() / 2


def functional(
    folder: Path, name: str, target: dict[str, torch.Tensor], *, output: str = "", **options: float
) -> criterion.Criterion:
    save_file(target, folder / "target")
    loss = LossRequest("functional", name, options)
    request = Request("", "", str(folder / "target"), loss, output)
    return criterion.build(request, device=CPU, load=LOAD)


def failure(loss: criterion.Criterion, output: object) -> str:
    with pytest.raises(AnalysisError) as caught:
        loss(output)
    assert caught.value.reason == FailureReason.LOSS_ERROR
    return caught.value.message


def test_a_named_loss_is_torchs_own_with_integral_options(tmp_path: Path) -> None:
    loss = functional(tmp_path, "cross_entropy", {"target": CLASSES}, ignore_index=2, label_smoothing=0.1)
    expected = torch.nn.functional.cross_entropy(LOGITS, CLASSES, ignore_index=2, label_smoothing=0.1)
    assert torch.equal(loss(LOGITS), expected)
    assert loss.options["ignore_index"] == 2


def test_the_only_floating_output_is_the_default(tmp_path: Path) -> None:
    loss = functional(tmp_path, "cross_entropy", {"target": CLASSES})
    assert torch.equal(loss((CLASSES, {"logits": LOGITS})), torch.nn.functional.cross_entropy(LOGITS, CLASSES))


def test_several_floating_outputs_need_a_choice(tmp_path: Path) -> None:
    unclear = functional(tmp_path, "cross_entropy", {"target": CLASSES})
    message = failure(unclear, {"logits": LOGITS, "hidden": [LOGITS * 2]})
    assert "`logits`" in message
    assert "`hidden.0`" in message
    chosen = functional(tmp_path, "cross_entropy", {"target": CLASSES}, output="hidden.0")
    expected = torch.nn.functional.cross_entropy(LOGITS * 2, CLASSES)
    assert torch.equal(chosen({"logits": LOGITS, "hidden": [LOGITS * 2]}), expected)


def test_a_loss_that_raises_says_what_it_got(tmp_path: Path) -> None:
    message = failure(functional(tmp_path, "mse_loss", {"target": torch.zeros(5, 7)}), LOGITS)
    assert "torch.nn.functional.mse_loss raised" in message
    assert "`output` float32[2, 3] and target `target` float32[5, 7]" in message


def test_a_loss_without_enough_memory_is_no_error_of_the_loss(tmp_path: Path) -> None:
    loss = functional(tmp_path, "mse_loss", {"target": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        loss(torch.zeros(1).expand(1 << 45))  # 128 TiB, as many as a process can have addresses


def test_a_target_of_another_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="ctc_loss needs the target tensors"):
        functional(tmp_path, "ctc_loss", {"target": CLASSES})


def test_a_loss_that_is_no_scalar_is_refused() -> None:
    model = criterion.build(Request("", "", loss=LossRequest("model")), device=CPU, load=LOAD)
    assert "shape [2, 3]; a loss must be a scalar" in failure(model, LOGITS)
    assert model(LOGITS.sum()[None]).shape == ()


def test_a_loss_module_gets_output_and_target(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(Halved()), str(tmp_path / "loss.pt"))
    save_file({"target": torch.ones(2, 3)}, tmp_path / "target")
    wanted = LossRequest("module", module=str(tmp_path / "loss.pt"))
    loss = criterion.build(Request("", "", str(tmp_path / "target"), wanted), device=CPU, load=LOAD)
    assert torch.equal(loss(LOGITS), torch.nn.functional.mse_loss(LOGITS, torch.ones(2, 3)) / 2)


def test_the_random_projection_is_the_same_every_time_and_has_a_gradient_behind_softmax() -> None:
    torch.manual_seed(1)
    first = criterion.build(Request("", ""), device=CPU, load=LOAD)(LOGITS.softmax(-1))
    torch.manual_seed(2)
    second = criterion.build(Request("", ""), device=CPU, load=LOAD)(LOGITS.softmax(-1))
    assert torch.equal(first, second)
    (gradient,) = torch.autograd.grad(first, LOGITS)
    assert gradient.abs().max() > 1e-3
