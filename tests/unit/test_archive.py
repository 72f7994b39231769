"""Vetting and loading of TorchScript archives."""

from __future__ import annotations

import inspect
import pickle
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.torchscript import archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPU = torch.device("cpu")


class Reads(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.from_file("/etc/hostname", size=1, dtype=torch.float32)


def saved(module: torch.nn.Module, folder: Path) -> Path:
    path = folder / "model.pt"
    torch.jit.save(torch.jit.script(module), str(path))
    return path


def refusal(path: Path) -> AnalysisError:
    with pytest.raises(AnalysisError) as caught:
        archive.load(str(path), device=CPU, field="model")
    return caught.value


def test_an_archive_of_torch_jit_save_is_loaded(tmp_path: Path) -> None:
    module = archive.load(str(saved(torch.nn.Linear(3, 2), tmp_path)), device=CPU, field="model")
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.touch()
    error = refusal(path)
    assert (error.reason, error.field) == (FailureReason.BAD_ARCHIVE, "model")
    assert "empty (0 bytes)" in error.message


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: torch.save(torch.nn.Linear(2, 2).state_dict(), path), "written by torch.save"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1})), "this is a pickle"),
        (lambda path: path.write_bytes(b"\x00" * 1000), "no TorchScript archive"),
        (lambda path: zipfile.ZipFile(path, "w").writestr("a/readme.txt", "hello"), "holds no code"),
    ],
)
def test_what_is_no_archive_is_told_what_it_is(write: object, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write(path)  # type: ignore[operator]  # the cases are plain callables
    error = refusal(path)
    assert error.reason == FailureReason.BAD_ARCHIVE
    assert said in error.message


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = saved(torch.nn.Linear(300, 200), tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    assert "damaged or truncated" in refusal(path).message


def test_an_archive_that_inflates_is_not_opened(tmp_path: Path) -> None:
    path = saved(torch.nn.Linear(3, 2), tmp_path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model/extra/zeros", bytes(10_000_000))
    assert "claims to hold" in refusal(path).message


def test_an_operator_that_reads_files_is_forbidden(tmp_path: Path) -> None:
    error = refusal(saved(Reads(), tmp_path))
    assert error.reason == FailureReason.FORBIDDEN_OPERATOR
    assert "torch.from_file" in error.message
    assert "code/" in error.message


def test_damaged_source_lines_are_told(tmp_path: Path) -> None:
    path = saved(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU()), tmp_path)
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name, b"\0" + content if name.endswith(".debug_pkl") else content)
    error = refusal(path)
    assert error.reason == FailureReason.BAD_ARCHIVE
    assert "cannot load the archive" in error.message


class Around(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)


@pytest.fixture
def little_room() -> Iterator[None]:
    """So little room for recursion that a hundred modules in each other are many: loading 400 takes seconds."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 200)
    yield
    sys.setrecursionlimit(limit)


def nested(folder: Path) -> Path:
    module: torch.nn.Module = torch.nn.Linear(2, 2)
    for _ in range(100):
        module = torch.jit.script(Around(module))  # one by one, it takes no recursion
    return saved(module, folder)


@pytest.mark.usefixtures("little_room")
def test_modules_nested_deep_are_loaded(tmp_path: Path) -> None:
    limit = sys.getrecursionlimit()
    module, inlined = archive.load_inlined(str(nested(tmp_path)), device=CPU, field="model")
    assert {"inner." * 100 + "weight", "inner." * 100 + "bias"} == {name for name, _ in module.named_parameters()}
    assert [] == inlined.opaque
    assert limit == sys.getrecursionlimit()


@pytest.mark.usefixtures("little_room")
def test_modules_nested_deeper_than_is_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_NESTED_MODULES", 0)
    error = refusal(nested(tmp_path))
    assert (FailureReason.BAD_ARCHIVE, "model") == (error.reason, error.field)
    assert "its modules are nested too deep" in error.message
