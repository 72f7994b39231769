"""Compiles the classes of an archive without making an object of any: loading would run their `__setstate__`."""

# ruff: noqa: SLF001 - torch has no public way to do so
from __future__ import annotations

import io
import re
import zipfile

import torch

SETS_STATE = b"__setstate__"

_STAND_IN_CODE = """class Nothing(Module):
  __parameters__ = []
  __buffers__ = []
  def forward(self: __torch__.%s.Nothing) -> NoneType:
    return None
"""
_STAND_IN_PICKLE = b"\x80\x02c__torch__.%b\nNothing\n)\x81}(X\x07\x00\x00\x00classes(%btub."
"""One such object, whose state, which it does not look at, is a tuple of classes: to name them compiles them."""


class HasObjects(Exception):
    """The constants hold objects, which cannot be read without running what they run when they are read."""


def functions(reader: torch._C.PyTorchFileReader, names: set[str]) -> torch._C.CompilationUnit:
    """All functions, and all methods of all classes, that the archive's objects may be made of.

    Args:
        reader: Of the archive.
        names: Of its entries, no two of which differ by case only.

    Raises:
        HasObjects: They cannot be told without running some of them.
        RuntimeError: The code cannot be compiled.
    """
    code = {name for name in names if name.startswith("code/") and name.endswith(".py")}
    modules = [name.removeprefix("code/").removesuffix(".py").replace("/", ".") for name in code]
    if "constants.pkl" in names and _classes(reader.get_record("constants.pkl"), modules):
        raise HasObjects
    classes = b"".join(b"c%b\n%b\n" % one for one in sorted(_classes(reader.get_record("data.pkl"), modules)))
    stand_in = "nothing" + "_" * max(map(len, names))  # longer than any
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name in code | {one for one in names if one.startswith("constants") or one in ("version", "byteorder")}:
            file.writestr(f"archive/{name}", reader.get_record(name))
        file.writestr(f"archive/code/__torch__/{stand_in}.py", _STAND_IN_CODE % stand_in)
        file.writestr("archive/data.pkl", _STAND_IN_PICKLE % (stand_in.encode(), classes))
    unit = torch._C.CompilationUnit()
    read = torch._C.import_ir_module_from_buffer
    read(unit, archive.getvalue(), torch.device("cpu"), {}, False)  # type: ignore[call-arg, arg-type]  # noqa: FBT003 - torch's stub is old
    return unit


def _classes(pickle: bytes, modules: list[str]) -> set[tuple[bytes, bytes]]:
    """Module and name of each class that a pickle may name, wherever in it: more than it does, but never less."""
    known = b"|".join(re.escape(module.encode()) for module in modules)
    return {(match[1], match[2]) for match in re.finditer(rb"(?=c(%b)\n(\w+)\n)" % known, pickle, re.IGNORECASE)}
