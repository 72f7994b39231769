"""Reads the user's source lines out of what TorchScript recorded about a node."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import takewhile
from typing import TYPE_CHECKING

from gradclinic_engine.measurements import SourceLine

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradclinic_engine.torchscript.program_lines import ArchiveLines

# A scripted node: the file and line, then the code around it with tildes below the range.
_SCRIPTED = re.compile(r'^ *(?P<serialized>Serialized +)?File "(?P<file>[^"]*)", line (?P<line>\d+)$', re.MULTILINE)
# A traced node: the Python stack, innermost frame first.
_TRACED = re.compile(r"^(?P<file>/?[^\n\"]*?[^\n\"/ ])\((?P<line>\d+)\): [^\n]*$", re.MULTILINE)
# Frames outside of this one called the trace; they are no part of the model.
_TRACER = re.compile(r"(?:^|/)(?:site|dist)-packages/torch/jit/_trace\.py$")
_GENERATED = "code/"  # where an archive keeps its code
_UNDERLINE = re.compile(r"^\s*~+(?: <--- HERE)?\s*$")
# torch's own files: nobody changes anything there.
_TORCH = re.compile(r"(?:^|/)(?:site|dist)-packages/torch/|^code/__torch__/torch/|^<string>$|^$")


def is_users(line: SourceLine) -> bool:
    """Whether a line stands outside torch itself."""
    return not _is_torchs(line.file)


@lru_cache(maxsize=4096)
def _is_torchs(file: str) -> bool:
    return _TORCH.search(file) is not None


def is_original(line: SourceLine) -> bool:
    """Whether a line is the user's, in the file where it was written."""
    return is_users(line) and not line.file.startswith(_GENERATED)


@lru_cache(maxsize=65536)
def lines(source_range: str) -> tuple[SourceLine, ...]:
    """The places that a printed source range names, innermost first, the archive's own code last."""
    frames = takewhile(
        lambda frame: not _TRACER.search(frame["file"]), _TRACED.finditer(source_range.partition("\nSerialized ")[0])
    )
    # The archive holds no text of a traced file.
    traced = [SourceLine(frame["file"], int(frame["line"]), "") for frame in frames]
    scripted = [
        SourceLine(found["file"], int(found["line"]), _marked_text(source_range[found.end() :]))
        for found in _SCRIPTED.finditer(source_range)
        if found["file"]
    ]
    return (*traced, *scripted)


def preferred(source_ranges: Iterable[str], archive: ArchiveLines | None = None) -> SourceLine | None:
    """The line to show, of the ranges on the way from an operation out to forward.

    The user's innermost line; where there is none, the innermost line of the
    archive's generated code that is not torch's; at last torch's own line.
    """
    fallback: SourceLine | None = None
    for source_range in source_ranges:
        known = lines(source_range)
        for line in known:
            if is_original(line):
                return line
            # The only place, or all others stand in torch: `0.5 * x` is a small function of torch's own.
            if archive is not None and is_users(line) and not any(map(is_users, known[: known.index(line)])):
                found = archive.original(line.file, line.line, _marked_column(source_range))
                if found is not None and is_original(found):
                    return found
            if fallback is None or (is_users(line) and not is_users(fallback)):
                fallback = line
    return fallback


def _marked_column(excerpt: str) -> int:
    """Where the underlined part begins, from 0."""
    return next((line.index("~") for line in excerpt.split("\n") if _UNDERLINE.match(line)), 0)


def _marked_text(excerpt: str) -> str:
    """The first underlined line of an excerpt, without indentation."""
    above = ""
    for line in excerpt.split("\n")[1:]:
        if _UNDERLINE.match(line):
            return above.strip()
        above = line
    return ""
