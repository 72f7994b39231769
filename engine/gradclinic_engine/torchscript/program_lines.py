"""Finds the user's line for a place in an archive's generated code.

TorchScript loses the line of a call such as ``F.relu(x)`` when it loads an
archive, because the generated code spells the callee as a path that has no
source of its own. The archive's debug records still have it.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from bisect import bisect_left, bisect_right
from typing import Any

from gradclinic_engine.measurements import SourceLine

# torch's own small functions, such as a number times a tensor.
_NO_FILE = ("", "<string>")
_FORMAT = "FORMAT_WITH_STRING_TABLE"
# What a damaged or hostile record may raise while it is taken apart.
_UNREADABLE = (pickle.UnpicklingError, ValueError, TypeError, IndexError, KeyError, AttributeError, EOFError)


class ArchiveLines:
    """The debug records of one archive, read file by file when they are asked for."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._files: dict[str, _CodeFile | None] = {}

    def original(self, file: str, line: int, column: int) -> SourceLine | None:
        """The user's line behind a place in the generated code.

        Args:
            file: As a source range names it, for example `code/__torch__.py`.
            line: From 1.
            column: From 0.
        """
        if file not in self._files:
            self._files[file] = self._read(file)
        code = self._files[file]
        return code.original(line, column) if code is not None else None

    def _read(self, file: str) -> _CodeFile | None:
        try:
            with zipfile.ZipFile(self._path) as archive:
                prefix = archive.namelist()[0].partition("/")[0]
                text = archive.read(f"{prefix}/{file}")
                records = _Records(io.BytesIO(archive.read(f"{prefix}/{file}.debug_pkl"))).load()
                return _CodeFile(text, records)
        except (*_UNREADABLE, zipfile.BadZipFile, OSError):
            return None


class _CodeFile:
    """One generated file: from which offset on which record holds."""

    def __init__(self, text: bytes, records: Any) -> None:
        kind, self._strings, table = records
        if kind != _FORMAT:
            raise ValueError(kind)
        self._line_starts = [0, *(i + 1 for i, byte in enumerate(text) if byte == ord("\n"))]
        self._offsets = [int(record[0]) for record in table]
        self._ranges = [record[1] for record in table]

    def original(self, line: int, column: int) -> SourceLine | None:
        if not 0 < line <= len(self._line_starts):
            return None
        start = self._line_starts[line - 1]
        end = self._line_starts[line] if line < len(self._line_starts) else self._offsets[-1] + 1
        first = max(0, bisect_right(self._offsets, start + column) - 1)
        # The callee's own record is empty or torch's; the call's stands behind it on the same line, or before it.
        behind = range(first, bisect_left(self._offsets, end))
        before = range(first - 1, max(0, bisect_left(self._offsets, start)) - 1, -1)
        for place in (*behind, *before):
            found = self._line(self._ranges[place])
            if found is not None and found.file not in _NO_FILE:
                return found
        return None

    def _line(self, source_range: Any) -> SourceLine | None:
        (parts, file, first_line), start, _ = source_range
        if not parts:
            return None
        text = "".join(self._strings[part] for part in parts)
        before = text.rfind("\n", 0, start) + 1
        line = text[before:].partition("\n")[0].strip()
        return SourceLine(str(self._strings[file]), int(first_line) + text[:start].count("\n"), line)


class _Records(pickle.Unpickler):
    """Reads nothing but numbers, texts, tuples and lists."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("torch.jit._pickle", "build_intlist"):
            return list
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a debug record")
