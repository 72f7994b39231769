"""Named tensors: what users hold, flattened and written as safetensors."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradclinic import tensors
from gradclinic.errors import BadCall

if TYPE_CHECKING:
    from pathlib import Path


def read(value: object, single: str = "0") -> dict[str, torch.Tensor]:
    """What another reader of the format finds in what we write."""
    return dict(safetensors.torch.load(tensors.serialize(tensors.flatten(value, "inputs", single))))


def test_a_tensor_has_the_single_name() -> None:
    assert ["target"] == list(read(torch.ones(2), "target"))


def test_positions_keywords_and_nesting_give_names() -> None:
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    names = read((one, {"mask": two, "past": [three, one]}))
    assert {"0", "1.mask", "1.past.0", "1.past.1"} == set(names)
    assert torch.equal(three, names["1.past.0"])


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
        torch.uint16,
        torch.complex64,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    ],
)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4)])
def test_every_dtype_and_shape_arrives(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    value = (torch.rand(shape) * 3).to(dtype)
    arrived = read(value)["0"]
    assert (value.dtype, value.shape) == (arrived.dtype, arrived.shape)
    assert value.reshape(-1).view(torch.uint8).tolist() == arrived.reshape(-1).view(torch.uint8).tolist()


def test_views_arrive_as_they_look() -> None:
    value = torch.arange(12.0).reshape(3, 4).t()[1:, ::2]
    assert torch.equal(value, read(value)["0"])
    assert torch.equal(value, read(value.requires_grad_())["0"])
    conjugate = torch.tensor([1 + 2j]).conj()
    assert conjugate.tolist() == read(conjugate)["0"].tolist()


def test_arrays_arrive() -> None:
    value = np.arange(6, dtype=">i4").reshape(2, 3).T
    assert value.tolist() == read(value)["0"].tolist()
    assert torch.float32 == read(np.float32(1.5))["0"].dtype
    assert [] == list(read(np.float64(2.0))["0"].shape)


def test_lists_of_numbers_are_one_tensor() -> None:
    assert {"0": [[1.0, 2.0], [3.0, 4.5]]} == {name: t.tolist() for name, t in read([[1, 2], [3, 4.5]]).items()}
    assert torch.int64 == read([1, 2])["0"].dtype
    assert torch.bool == read([True, False])["0"].dtype
    assert ["0", "1"] == sorted(read(([1, 2], [3])))


@given(st.lists(st.lists(st.floats(width=32), min_size=2, max_size=2), min_size=1, max_size=4))
def test_floats_arrive_bit_by_bit(value: list[list[float]]) -> None:
    expected = torch.tensor(value, dtype=torch.float32)
    assert torch.equal(expected.view(torch.int32), read(value)["0"].view(torch.int32))


def test_the_same_tensors_give_the_same_bytes() -> None:
    a, b = torch.ones(3), torch.zeros(2, dtype=torch.int64)
    first = tensors.serialize(tensors.flatten({"a": a, "b": b}, "inputs"))
    assert first == tensors.serialize(tensors.flatten({"b": b, "a": a.numpy()}, "inputs"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("text", "expected a tensor"),
        ((), "no tensor"),
        ([], "no tensor"),
        ((torch.ones(1), None), "'1' is None"),
        ({"a.b": torch.ones(1)}, "'a.b' cannot name"),
        ([[1, 2], [3]], "different lengths"),
        ([2**70], "does not fit"),
        (torch.ones(2).to_sparse(), "sparse"),
        (torch.ones(2, device="meta"), "meta"),
        (torch.ones(2, dtype=torch.complex128), "complex128"),
        (np.array(["a"]), "dtype"),
        (object(), "object"),
    ],
)
def test_what_cannot_be_sent_is_named(value: object, message: str) -> None:
    with pytest.raises(BadCall, match=message) as caught:
        tensors.flatten(value, "inputs")
    assert str(caught.value).startswith("inputs")


def test_files(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 3), np.float32))
    np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.ones(3))
    safetensors.torch.save_file({"0": torch.ones(2)}, tmp_path / "x.safetensors")
    assert ["0"] == list(safetensors.torch.load(bytes_of(tensors.from_file(tmp_path / "x.npy", "inputs"))))
    assert ["a", "b"] == sorted(safetensors.torch.load(bytes_of(tensors.from_file(tmp_path / "x.npz", "inputs"))))
    assert tmp_path / "x.safetensors" == tensors.from_file(tmp_path / "x.safetensors", "inputs")


def bytes_of(content: bytes | Path) -> bytes:
    assert isinstance(content, bytes)
    return content


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bytes").write_bytes(b"nothing of the kind")
    torch.save(torch.ones(1), tmp_path / "x.pt")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, message in {
        "x.bytes": "no safetensors file",
        "x.pt": "pickle",
        "objects.npy": "cannot read",
        "absent": "there is no file",
    }.items():
        with pytest.raises(BadCall, match=message):
            tensors.from_file(tmp_path / name, "inputs")


def test_neither_torch_nor_numpy_is_imported_for_lists() -> None:
    code = (
        "import sys, gradclinic.submission as s;"
        "s.prepare(b'model', [[1.0, 2.0]], {'target': [1], 'loss': 'cross_entropy'});"
        "print([name for name in ('torch', 'numpy', 'grpc', 'rich', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout
