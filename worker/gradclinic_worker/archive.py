"""Vets and loads TorchScript archives.

The vetting is a filter that gives clear errors; what confines a hostile
program is the executor's process, not this file.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from gradclinic.v1 import diagnosis_pb2

from gradclinic_worker.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ENTRIES = 200_000
# torch.jit.save stores tensors uncompressed, so an honest archive is about as large as its contents.
MAX_INFLATION = 20
PICKLE_MAGIC = b"\x80"
ZIP_MAGIC = b"PK\x03\x04"

# Operators that touch files, the network or other processes.
FORBIDDEN = re.compile(
    r"\b(?:torch\.(?:from_file|save|load)|ops\.(?:rpc|c10d|_c10d_functional|dist_autograd)\.\w+)\s*\("
)

HOW_TO_SAVE = "Save it with torch.jit.save(torch.jit.script(model), path), or hand the module to gradclinic.Client."


def load(path: str, *, device: torch.device, field: str) -> torch.jit.ScriptModule:
    """Loads an archive written by torch.jit.save.

    Args:
        path: A readable file.
        device: Where its tensors go.
        field: The field of the request it came in, for errors.

    Raises:
        AnalysisError: BAD_ARCHIVE when it is not such an archive,
            FORBIDDEN_OPERATOR when it names an operator that is not allowed.
    """
    vet(path, field=field)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.load` is (deprecated|not supported)")
            module: torch.jit.ScriptModule = torch.jit.load(path, map_location=device)  # type: ignore[no-untyped-call]  # torch gives it no types
            return module
    except (torch.jit.Error, RuntimeError, ValueError) as error:
        raise _bad(field, f"torch {torch.__version__} cannot load the archive: {_first_line(error)}") from error


def vet(path: str, *, field: str) -> None:
    """Looks at an archive without running any of it.

    Raises:
        AnalysisError: As in `load`.
    """
    size_bytes = Path(path).stat().st_size
    if size_bytes == 0:
        raise _bad(field, f"the archive is empty (0 bytes). {HOW_TO_SAVE}")
    with Path(path).open("rb") as file:
        magic = file.read(4)
        if magic.startswith(PICKLE_MAGIC):
            raise _bad(field, f"this is a pickle, which is never loaded here. {HOW_TO_SAVE}")
        if magic != ZIP_MAGIC:
            raise _bad(field, f"this is no TorchScript archive (it does not start like a zip file). {HOW_TO_SAVE}")
        try:
            with zipfile.ZipFile(file) as archive:
                _vet_entries(archive, size_bytes, field)
                _vet_code(archive, field)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError) as error:
            raise _bad(field, f"the archive is damaged or truncated: {_first_line(error)}") from error


def _vet_entries(archive: zipfile.ZipFile, size_bytes: int, field: str) -> None:
    entries = archive.infolist()
    # Every entry stands under one folder that is named after the file it was saved to.
    names = {entry.filename.partition("/")[2] for entry in entries}
    if "constants.pkl" not in names or not any(name.startswith("code/") for name in names):
        if "data.pkl" in names:
            raise _bad(field, f"this was written by torch.save (a state_dict or a pickled module). {HOW_TO_SAVE}")
        if any(name.startswith("models/") or name == "archive_format" for name in names):
            raise _bad(field, f"this is a torch.export program, which no worker accepts yet. {HOW_TO_SAVE}")
        raise _bad(field, f"this zip file is no TorchScript archive: it holds no code. {HOW_TO_SAVE}")
    if len(entries) > MAX_ENTRIES:
        raise _bad(field, f"the archive has {len(entries)} entries; at most {MAX_ENTRIES} are read.")
    contents_bytes = sum(entry.file_size for entry in entries)
    if contents_bytes > MAX_INFLATION * size_bytes:
        raise _bad(field, f"the archive of {size_bytes} bytes claims to hold {contents_bytes}; it was not opened.")


def _vet_code(archive: zipfile.ZipFile, field: str) -> None:
    for name, number, line in _code_lines(archive):
        if found := FORBIDDEN.search(line):
            operator = found.group().rstrip("( ")
            raise AnalysisError(
                diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR,
                f"The archive calls {operator} ({name}:{number}), which is not allowed here. "
                "Remove file, network and process access from forward.",
                field=field,
            )


def _code_lines(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, str]]:
    for entry in archive.infolist():
        inner = entry.filename.partition("/")[2]
        if inner.startswith("code/") and inner.endswith(".py"):
            with archive.open(entry) as code:
                for number, line in enumerate(code, start=1):
                    yield inner, number, line.decode("utf-8", errors="replace")


def _bad(field: str, what: str) -> AnalysisError:
    return AnalysisError(diagnosis_pb2.FAILURE_REASON_BAD_ARCHIVE, f"{field}: {what}", field=field)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
