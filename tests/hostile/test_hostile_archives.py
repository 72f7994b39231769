"""Archives whose structure is the attack: refused before anything of them is loaded, each with its own words."""

# The methods of an interface have to be empty, and torch takes no comment beside them.
# mypy: disable-error-code="empty-body"
from __future__ import annotations

import io
import re
import time
import warnings
import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.torchscript import archive, vetting_code, vetting_policy
from hostile.hostile_archives import Plain, Stateful, rewritten, saved, with_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CPU = torch.device("cpu")
READ = 'place = torch.from_file("/etc/passwd", False, 8)'
BAD_ARCHIVE = FailureReason.BAD_ARCHIVE
FORBIDDEN = FailureReason.FORBIDDEN_OPERATOR


def refusal(content: bytes, folder: Path) -> AnalysisError:
    path = folder / "model.pt"
    path.write_bytes(content)
    with pytest.raises(AnalysisError) as caught:
        archive.load(str(path), device=CPU, field="model")
    return caught.value


def with_entry(name: str, content: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO(saved(Plain()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        with zipfile.ZipFile(file, "a", compression) as changed:
            changed.writestr(name, content)
    return file.getvalue()


def renamed(before: str, after: str) -> bytes:
    """An archive that torch reads as it did, but for what is refused in it."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(with_code(READ))) as archive, zipfile.ZipFile(file, "w") as changed:
        for name in archive.namelist():
            changed.writestr(name.replace(before, after), archive.read(name))
    return file.getvalue()


def overlapping() -> bytes:
    """Two entries of the table of contents that share the bytes of one, larger than the rest of the file."""
    file = io.BytesIO(saved(Plain()))
    with zipfile.ZipFile(file, "a") as changed:
        changed.writestr("archive/extra/a", bytes(100_000))
        shared = changed.getinfo("archive/extra/a")
        for number in range(3):
            copy = zipfile.ZipInfo(f"archive/extra/{number}")
            copy.file_size, copy.compress_size, copy.CRC = shared.file_size, shared.compress_size, shared.CRC
            copy.header_offset = shared.header_offset
            changed.filelist.append(copy)
    return file.getvalue()


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "compressed tensors": (
        lambda: rewritten(saved(Plain()), lambda _, content: content, compression=zipfile.ZIP_DEFLATED),
        "is compressed; torch.jit.save stores everything but code",
    ),
    "code that inflates": (
        lambda: with_entry("archive/code/zeros.py", bytes(20_000_000), zipfile.ZIP_DEFLATED),
        "claims to hold 20000000",
    ),
    "much code that inflates": (
        lambda: with_entry("archive/code/digits.py", b"0123456789abcdef# \n" * 4_000_000, zipfile.ZIP_DEFLATED),
        "claim",
    ),
    "overlapping entries": (overlapping, "its entries overlap"),
    "path traversal": (lambda: with_entry("archive/../../etc/cron.d/x"), "leads out of the archive"),
    "an absolute path": (lambda: with_entry("/etc/passwd"), "leads out of the archive"),
    "a terminal escape": (lambda: with_entry("archive/extra/\x1b[2Jx"), r"'archive/extra/\x1b[2Jx'"),
    "a name without end": (lambda: with_entry("archive/" + "n" * 5000), "a name of 5008 characters"),
    "the same name twice": (lambda: with_entry("archive/constants.pkl"), "two entries are named"),
    "code beside code": (lambda: with_entry("archive/CODE/__torch__/A.py"), "such as 'archive/CODE/__torch__/A.py'"),
    "the same code by case": (lambda: with_entry("archive/code/__TORCH__/hostile/hostile_archives.py"), "by case only"),
    "code in capitals": (lambda: renamed("/code/", "/CODE/"), "no entry such as 'archive/CODE/"),
    "a suffix in capitals": (lambda: renamed(".py", ".PY"), "no entry such as 'archive/code/"),
    "constants in capitals": (lambda: renamed("constants.pkl", "CONSTANTS.PKL"), "such as 'archive/CONSTANTS.PKL'"),
    "data in capitals": (lambda: renamed("data.pkl", "data.PKL"), "such as 'archive/data.PKL'"),
    "code as torch 1.3 saved it": (lambda: with_entry("archive/model.json", b"{}"), "such as 'archive/model.json'"),
    "code as torch 1.3 saved it, in capitals": (lambda: with_entry("archive/MODEL.json", b"{}"), "archive/MODEL.json"),
    "code that is no code": (
        lambda: with_entry("archive/code/__torch__/a.txt"),
        "such as 'archive/code/__torch__/a.txt'",
    ),
    "two folders": (lambda: with_entry("other/code/__torch__.py"), "more than one folder"),
    "too many entries": (
        lambda: rewritten_with_many(110_000),
        "at most 100000 are read",
    ),
    "a flatbuffer": (lambda: b"PK\x03\x04PTMF" + saved(Plain())[8:], "no TorchScript archive"),
    "data before the archive": (lambda: b"PK\x03\x04" + bytes(1000) + saved(Plain()), ""),
}


def rewritten_with_many(count: int) -> bytes:
    file = io.BytesIO(saved(Plain()))
    with zipfile.ZipFile(file, "a") as changed:
        for number in range(count):
            changed.writestr(f"archive/extra/{number}", b"")
    return file.getvalue()


@pytest.mark.parametrize("attack", CASES)
def test_a_crooked_archive_is_refused(attack: str, tmp_path: Path) -> None:
    make, words = CASES[attack]
    content = make()
    began = time.monotonic()
    error = refusal(content, tmp_path)
    assert (BAD_ARCHIVE, True) == (error.reason, words in error.message), error.message
    assert error.message.isprintable()
    assert time.monotonic() - began < 10.0


def test_a_module_without_forward(tmp_path: Path) -> None:
    class Silent(torch.nn.Module):
        @torch.jit.export
        def other(self, x: torch.Tensor) -> torch.Tensor:
            return x

    assert "without forward" in refusal(saved(Silent()), tmp_path).message


class WithOps(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ops = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.ops(x)
        return out


def test_a_submodule_may_be_named_ops(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(saved(WithOps()))
    archive.load(str(path), device=CPU, field="model")


def test_words_in_strings_are_only_words(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(with_code('print("use torch.save(x) and ops.rpc.send(x)")'))
    archive.load(str(path), device=CPU, field="model")


@pytest.fixture
def policy() -> Iterator[Callable[..., None]]:
    """Puts a policy in force for one test."""

    def put(*, allowed: str = "", denied: str = "") -> None:
        names = frozenset(vetting_policy.parse_names(allowed)), frozenset(vetting_policy.parse_names(denied))
        vetting_policy.enforce(vetting_policy.OperatorPolicy(*names))

    yield put
    vetting_policy.enforce(vetting_policy.OperatorPolicy())


def test_the_operator_of_a_worker_denies(policy: Callable[..., None], tmp_path: Path) -> None:
    policy(denied="aten::linear")
    error = refusal(saved(Plain()), tmp_path)
    assert FORBIDDEN == error.reason
    # torch puts a number into the file's name once the process has compiled another model with such a layer.
    assert re.search(r"uses aten::linear \(code/__torch__/torch/nn/modules/linear[\w/]*\.py:\d", error.message)


def test_the_operator_of_a_worker_allows(policy: Callable[..., None], tmp_path: Path) -> None:
    policy(allowed="aten::from_file")
    path = tmp_path / "model.pt"
    path.write_bytes(with_code('place = torch.from_file("/etc/passwd", False, 8)'))
    archive.load(str(path), device=CPU, field="model")


def test_a_built_in_class_in_the_pickle_is_found(tmp_path: Path) -> None:
    def change(name: str, content: bytes) -> bytes:
        return (
            content.replace(b"__torch__.torch.nn", b"__torch__.torch.classes.dist_c10d")
            if name == "data.pkl"
            else content
        )

    error = refusal(rewritten(saved(Plain()), change), tmp_path)
    assert error.reason in {FORBIDDEN, BAD_ARCHIVE}


@torch.jit.interface
class Step(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pass


class Inner(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place = torch.zeros_like(x)
        return x + place


class ThroughInterface(torch.nn.Module):
    __annotations__ = {"step": Step}

    def __init__(self) -> None:
        super().__init__()
        self.step = Inner()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step.forward(x)


def forked(x: torch.Tensor) -> torch.Tensor:
    place = torch.zeros_like(x)
    return place + x


class Forking(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.jit.wait(torch.jit.fork(forked, x))
        return out


class Exporting(torch.nn.Module):
    @torch.jit.export
    def other(self, x: torch.Tensor) -> torch.Tensor:
        place = torch.zeros_like(x)
        return place + x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


HIDING: dict[str, Callable[[], torch.nn.Module]] = {
    "forward": Plain,
    "a method that nothing calls": Exporting,
    "a method behind an interface": ThroughInterface,
    "a function that is forked": Forking,
    "__setstate__": Stateful,
}


@pytest.mark.parametrize("place", HIDING)
def test_what_the_text_hides_the_graph_shows(place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vetting_code, "look_through", lambda *_: None)
    made = tmp_path / "made"
    error = refusal(with_code(f'place = torch.from_file("{made}", True, 8)', module=HIDING[place]()), tmp_path)
    assert (FORBIDDEN, True) == (error.reason, "aten::from_file" in error.message)
    assert not made.exists()


@pytest.mark.parametrize("place", HIDING)
def test_an_operator_that_is_written_as_a_method_is_found(
    place: str, policy: Callable[..., None], tmp_path: Path
) -> None:
    policy(denied="aten::cos")
    error = refusal(with_code("place = (place).cos()", module=HIDING[place]()), tmp_path)
    assert (FORBIDDEN, True) == (error.reason, "uses aten::cos" in error.message)


def test_objects_among_constants_are_not_read_where_reading_runs_code(tmp_path: Path) -> None:
    stateful = zipfile.ZipFile(io.BytesIO(saved(Stateful()))).read("archive/data.pkl")
    archived = rewritten(saved(Stateful()), lambda name, content: stateful if name == "constants.pkl" else content)
    error = refusal(archived, tmp_path)
    assert (BAD_ARCHIVE, True) == (error.reason, "objects among its constants" in error.message)


def test_a_module_that_sets_its_own_state_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(saved(Stateful()))
    loaded = archive.load(str(path), device=CPU, field="model")
    assert [1.0, 1.0, 1.0] == loaded(torch.ones(1, 1))[0].tolist()


@pytest.mark.filterwarnings("ignore:Lite Interpreter is deprecated:DeprecationWarning")
def test_what_torch_saves_is_no_surprise(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    scripted, traced = torch.jit.script(Plain()), torch.jit.trace(Plain(), torch.ones(1, 8))
    torch.jit.save(scripted, path, _extra_files={"notes/a.txt": b"a", "B.PKL": b"b"})
    archive.load(str(path), device=CPU, field="model")
    scripted._save_for_lite_interpreter(str(path))  # noqa: SLF001 - there is no public one
    archive.load(str(path), device=CPU, field="model")
    for each in (traced, torch.jit.freeze(scripted.eval())):
        torch.jit.save(each, path)
        archive.load(str(path), device=CPU, field="model")
