"""Inputs from safetensors to the arguments of forward."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gradclinic_engine import tensors
from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.torchscript import arguments

CPU = torch.device("cpu")


class Nested(torch.nn.Module):
    def forward(
        self,
        x: torch.Tensor,
        pair: tuple[torch.Tensor, list[torch.Tensor]],
        named: dict[str, torch.Tensor],
        mask: torch.Tensor | None = None,
        steps: int = 3,
    ) -> torch.Tensor:
        total = x + pair[0] + named["a"] * steps
        for each in pair[1]:
            total = total + each
        return total if mask is None else total * mask


ONE = torch.ones(2)
NEEDED = {"0": ONE, "pair.0": ONE, "pair.1.0": ONE, "pair.1.1": ONE, "named.a": ONE}


@pytest.fixture(scope="module")
def nested() -> torch.jit.ScriptModule:
    script: torch.jit.ScriptModule = torch.jit.script(Nested())
    return script


def refused(module: torch.jit.ScriptModule, tensors: dict[str, torch.Tensor]) -> str:
    with pytest.raises(AnalysisError) as caught:
        arguments.bind(module, tensors)
    assert caught.value.reason == FailureReason.BAD_INPUTS
    return caught.value.message


def test_dotted_names_become_containers_and_defaults_fill_the_rest(nested: torch.jit.ScriptModule) -> None:
    bound = list(arguments.bind(nested, NEEDED).values())
    assert torch.equal(nested(*bound), torch.full((2,), 1 + 1 + 3 + 2.0))


def test_a_scalar_argument_is_read_from_a_tensor(nested: torch.jit.ScriptModule) -> None:
    bound = list(arguments.bind(nested, {**NEEDED, "steps": torch.tensor(5), "mask": torch.zeros(2)}).values())
    assert bound[4] == 5
    assert torch.equal(nested(*bound), torch.zeros(2))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": ONE}, "`extra` is no argument"),
        ({"x": ONE}, "`0` and `x` are the same argument"),
        ({"steps": ONE}, "`steps` must be one int"),
        ({"mask.0": ONE}, "`mask` has parts"),
        ({"pair.2": ONE}, "`pair` has 3 part(s)"),
        ({"pair.1.3": ONE}, "without a gap"),
        ({"named": ONE}, "a tensor and a container at once"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, torch.Tensor], said: str, nested: torch.jit.ScriptModule) -> None:
    assert said in refused(nested, {**NEEDED, **change})


def test_a_missing_argument_is_named_with_what_forward_takes(nested: torch.jit.ScriptModule) -> None:
    message = refused(nested, {"0": ONE})
    assert "`pair` is missing" in message
    assert "2 or `named`: Dict[str, Tensor]" in message


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "inputs"
    path.write_bytes(b"\x00" * 20)
    with pytest.raises(AnalysisError, match="no safetensors file"):
        tensors.read_tensors(str(path), device=CPU, field="inputs")


def test_a_batch_without_samples_is_refused(tmp_path: Path) -> None:
    save_file({"0": torch.zeros(0, 3)}, tmp_path / "inputs")
    read = tensors.read_tensors(str(tmp_path / "inputs"), device=CPU, field="inputs")
    with pytest.raises(AnalysisError, match=r"`0` has shape \[0, 3\]: a batch without samples"):
        tensors.refuse_empty(read, field="inputs")
