"""Vets and loads TorchScript archives.

The vetting is a filter that gives clear errors; what confines a hostile
program is the executor's process, not this file.
"""

from __future__ import annotations

import re
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_engine.memory_errors import says_out_of_memory
from gradclinic_engine.torchscript import (
    arguments,
    program_inline,
    raised,
    vetting_code,
    vetting_compiled,
    vetting_entries,
    vetting_policy,
)
from gradclinic_engine.torchscript.program import prepare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradclinic_engine.torchscript.program import TorchScriptProgram

PICKLE_MAGIC = b"\x80"
ZIP_MAGIC = b"PK\x03\x04"
# Another format of torch's, which its loader would recognise behind the first bytes of a zip file.
FLATBUFFER_MAGIC = b"PTMF"

MAX_PICKLE_BYTES = 256 * 2**20

# As deep as calls are inlined. What follows loading takes one frame for each, for which Python's own limit has room.
MAX_NESTED_MODULES = program_inline.MAX_CALL_DEPTH
# What torch takes to wrap a module that it has loaded.
_FRAMES_PER_MODULE = 3
_FRAMES_AROUND = 300

HOW_TO_SAVE = "Save it with torch.jit.save(torch.jit.script(model), path), or hand the module to gradclinic.Client."

_BUILT_IN_CLASS = re.compile(rb"__torch__\.torch\.classes\.(\w+)")


@dataclass(frozen=True)
class LoadedArchive:
    """A module that was loaded from an archive; as `front_end.Loaded`."""

    module: torch.jit.ScriptModule
    inlined: program_inline.Inlined
    path: str
    raises: tuple[type[Exception], ...] = raised.RAISES

    @property
    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """By name, each once."""
        return dict(self.module.named_parameters())

    @property
    def buffers(self) -> dict[str, torch.Tensor]:
        """By name."""
        return dict(self.module.named_buffers())

    def bind(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, object]:
        """The arguments of forward in their order, by the names they were sent with."""
        return arguments.bind(self.module, tensors)

    def prepare(self, arguments: Mapping[str, object]) -> TorchScriptProgram:
        """The instrumented program that runs with such arguments."""
        return prepare(self.module, arguments, archive_path=self.path, inlined=self.inlined)

    def __call__(self, *arguments: object) -> object:
        """What forward returns, run by TorchScript's default executor."""
        return self.module(*arguments)


def open_archive(path: str, field: str, *, device: torch.device) -> LoadedArchive:
    """Vets and loads an archive; arguments and errors as of `load_inlined`."""
    return LoadedArchive(*load_inlined(path, device=device, field=field), path)


def load(path: str, *, device: torch.device, field: str) -> torch.jit.ScriptModule:
    """Loads an archive written by torch.jit.save; arguments and errors as of `load_inlined`."""
    return load_inlined(path, device=device, field=field)[0]


def load_inlined(
    path: str, *, device: torch.device, field: str
) -> tuple[torch.jit.ScriptModule, program_inline.Inlined]:
    """Loads an archive written by torch.jit.save, and inlines its forward, as vetting needs that.

    Args:
        path: A readable file.
        device: Where its tensors go.
        field: The field of the request it came in, for errors.

    Raises:
        AnalysisError: BAD_ARCHIVE when it is not such an archive,
            FORBIDDEN_OPERATOR when it names an operator that is not allowed.
    """
    vet(path, field=field)
    unit = torch._C.CompilationUnit()  # noqa: SLF001 - as torch.jit.load does, which does not give the unit
    try:
        loaded = torch._C.import_ir_module(unit, path, device, {}, False)  # type: ignore[call-arg]  # noqa: FBT003, SLF001 - torch's stub is old
        with _deep_recursion():
            module = torch.jit._recursive.wrap_cpp_module(loaded)  # noqa: SLF001 - the same
        _vet_functions(unit, field)
    except RecursionError as error:
        raise _bad(
            field, f"its modules are nested too deep: {MAX_NESTED_MODULES} in each other are read for certain."
        ) from error
    except (torch.jit.Error, RuntimeError, ValueError, IndexError) as error:
        if says_out_of_memory(error):
            raise
        raise _unloadable(field, error) from error
    if not hasattr(module, "forward"):
        raise _bad(field, f"the archive holds a module without forward. {HOW_TO_SAVE}")
    # torch's own pass would inline the callees for good, and no operation would know its module any more.
    try:
        inlined = program_inline.inline(module)
    except (RuntimeError, ValueError) as error:  # torch reads what the archive says of source lines only when asked
        if says_out_of_memory(error):
            raise
        raise _unloadable(field, error) from error
    return module, inlined


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Room for MAX_NESTED_MODULES while torch loads them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _FRAMES_AROUND + _FRAMES_PER_MODULE * MAX_NESTED_MODULES))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def vet(path: str, *, field: str) -> None:
    """Looks at an archive without running any of it.

    Raises:
        AnalysisError: As in `load_inlined`.
    """
    size_bytes = Path(path).stat().st_size
    if size_bytes == 0:
        raise _bad(field, f"the archive is empty (0 bytes). {HOW_TO_SAVE}")
    with Path(path).open("rb") as file:
        magic = file.read(8)
        if magic.startswith(PICKLE_MAGIC):
            raise _bad(field, f"this is a pickle, which is never loaded here. {HOW_TO_SAVE}")
        if magic[:4] != ZIP_MAGIC or magic[4:] == FLATBUFFER_MAGIC:
            raise _bad(field, f"this is no TorchScript archive (it does not start like a zip file). {HOW_TO_SAVE}")
        try:
            vetting_entries.refuse_long_table(file, size_bytes)
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
            _recognise({entry.filename.partition("/")[2].lower() for entry in entries}, field)
            vetting_entries.vet(entries, size_bytes)
        except vetting_entries.Refused as error:
            raise _bad(field, f"this is not as torch.jit.save writes it: {error}") from error
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, ValueError) as error:
            raise _bad(field, f"the archive is damaged or truncated: {_first_line(error)}") from error
    _vet_contents(path, {entry.filename.partition("/")[2]: entry.file_size for entry in entries}, field)


def _recognise(names: set[str], field: str) -> None:
    """Refuse other kinds of zip files, saying which."""
    # Every entry stands under one folder that is named after the file it was saved to.
    if "constants.pkl" not in names or not any(name.startswith("code/") for name in names):
        if "data.pkl" in names:
            raise _bad(field, f"this was written by torch.save (a state_dict or a pickled module). {HOW_TO_SAVE}")
        if any(name.startswith("models/") or name == "archive_format" for name in names):
            raise _bad(field, f"this is a torch.export program, which no worker accepts yet. {HOW_TO_SAVE}")
        raise _bad(field, f"this zip file is no TorchScript archive: it holds no code. {HOW_TO_SAVE}")


def _vet_contents(path: str, sizes_bytes: dict[str, int], field: str) -> None:
    """Look through code and pickles, read by the reader that will load them: what is looked at is what will run."""
    try:
        reader = torch._C.PyTorchFileReader(path)  # noqa: SLF001 - no public way to read as the loader reads
        names = set(reader.get_all_records())
        if names != set(sizes_bytes):
            different = min(names ^ set(sizes_bytes))
            raise _bad(field, f"two readers see different entries in it, such as {vetting_entries.shown(different)}.")
        sets_state = False
        for name in sorted(names):
            if name.startswith("code/") and name.endswith(".py"):
                code = reader.get_record(name)
                _vet_code(name, code, field)
                sets_state = sets_state or vetting_compiled.SETS_STATE in code
            elif name.endswith(".pkl") and "/" not in name:
                if sizes_bytes[name] > MAX_PICKLE_BYTES:
                    raise _bad(
                        field, f"its {name} takes {sizes_bytes[name]} bytes; at most {MAX_PICKLE_BYTES} are read."
                    )
                _vet_pickle(name, reader.get_record(name), field)
        if sets_state:  # loading runs some of it: it is looked at before, as far as text can hide anything
            _vet_functions(vetting_compiled.functions(reader, names), field)
    except vetting_compiled.HasObjects as error:
        what = "it has objects among its constants, and classes with `__setstate__`. Do not freeze the model."
        raise _bad(field, what) from error
    except (RuntimeError, ValueError) as error:
        raise _unloadable(field, error) from error


def _vet_code(name: str, content: bytes, field: str) -> None:
    found = vetting_code.look_through(content.decode("utf-8", errors="replace"), name, vetting_policy.in_force())
    if found:
        raise _forbidden(found, field)


def _vet_pickle(name: str, content: bytes, field: str) -> None:
    for match in _BUILT_IN_CLASS.finditer(content):
        namespace = match[1].decode(errors="replace")
        if not vetting_policy.in_force().permits_class(namespace):
            raise _forbidden(vetting_code.Forbidden(f"torch.classes.{namespace}", name, 0, ""), field)


def _vet_functions(unit: torch._C.CompilationUnit, field: str) -> None:
    """What the text may have hidden, the graphs show: of all functions, and of all methods of all classes."""
    functions: Any = unit.get_functions()  # type: ignore[func-returns-value]  # torch's stub errs
    for function in functions:
        found = vetting_code.look_through_graph(function.graph, vetting_policy.in_force())
        if found:
            raise _forbidden(found, field)


def _forbidden(found: vetting_code.Forbidden, field: str) -> AnalysisError:
    place = f"{found.file}:{found.line}" if found.line else found.file
    line = f"\n  {place}: {found.text}" if found.text else ""
    return AnalysisError(
        FailureReason.FORBIDDEN_OPERATOR,
        f"The archive uses {found.what} ({place}), which is not allowed here. A model may compute, but not "
        "reach files, the network or other processes. Remove it, or ask the operator of the worker to allow it "
        f"(gradclinic work --allow-operators).{line}",
        field=field,
    )


def _unloadable(field: str, error: BaseException) -> AnalysisError:
    return _bad(field, f"torch {torch.__version__} cannot load the archive: {_first_line(error)}")


def _bad(field: str, what: str) -> AnalysisError:
    return AnalysisError(FailureReason.BAD_ARCHIVE, f"{field}: {what}", field=field)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
