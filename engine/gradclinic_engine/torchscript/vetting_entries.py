"""Looks at an archive's table of contents, without reading what it holds."""

from __future__ import annotations

import re
import struct
import zipfile
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ENTRIES = 100_000
MAX_NAME_BYTES = 1000
MAX_COMPRESSED_CONTENTS_BYTES = 64 * 2**20
"""What all compressed entries together may inflate to: code and its line numbers; tensors are stored as they are."""

MAX_INFLATION = 100
"""How much larger than itself a compressed entry may become. Generated code compresses well, but not without end."""

_MIN_INFLATED_BYTES = 2**20
"""Below this no ratio is worth a question."""

_TABLE_ENTRY_BYTES = 46
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_MAX_COMMENT_BYTES = 2**16
# Entries that torch.jit.save compresses: code, and what maps it to the user's lines.
_MAY_BE_COMPRESSED = re.compile(r"code/.*|.*\.debug_pkl|extra/.*")
# What torch.jit.save makes beneath the folder. torch also looks for `model.json`, and then reads the code that this
# names, as it was saved before version 1.4.
_LAYOUT = re.compile(
    r"code/.+\.py(\.debug_pkl)?|(extra|\.data|data|constants|bytecode|traced_inputs)/.+"
    r"|(data|constants|bytecode|traced_inputs|mobile_debug_handles)\.pkl|version|byteorder|\.\w+"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Refused(Exception):
    """The table of contents is not one that torch.jit.save writes; the message says what is wrong with it."""


def refuse_long_table(file: BinaryIO, size_bytes: int) -> None:
    """Look at the end of a zip file for how much there is to read, before it is read.

    Raises:
        Refused: There are too many entries.
    """
    tail_bytes = min(size_bytes, _END.size + _MAX_COMMENT_BYTES)
    file.seek(size_bytes - tail_bytes)
    tail = file.read(tail_bytes)
    start = tail.rfind(_END_MAGIC)
    if 0 <= start <= len(tail) - _END.size:
        table_offset = _END.unpack_from(tail, start)[6]
        table_bytes = size_bytes - tail_bytes + start - table_offset  # more where the file is of the 64-bit kind
        if table_offset < size_bytes and table_bytes > MAX_ENTRIES * (_TABLE_ENTRY_BYTES + MAX_NAME_BYTES):
            raise Refused(f"its table of contents takes {table_bytes} bytes.")
    file.seek(0)


def vet(entries: Sequence[zipfile.ZipInfo], size_bytes: int) -> None:
    """Check names, sizes and compression of the entries of an archive of so many bytes.

    Raises:
        Refused: One of them is not as torch.jit.save would write it.
    """
    if len(entries) > MAX_ENTRIES:
        raise Refused(f"it has {len(entries)} entries; at most {MAX_ENTRIES} are read.")
    _vet_names(entries)
    stored_bytes = sum(entry.compress_size for entry in entries)
    if stored_bytes > size_bytes:
        raise Refused(f"its entries overlap: {stored_bytes} bytes in a file of {size_bytes}.")
    inflated_bytes = 0
    for entry in entries:
        inner = entry.filename.partition("/")[2]
        if entry.compress_type == zipfile.ZIP_STORED:
            if entry.file_size != entry.compress_size:
                raise Refused(f"{shown(inner)} is stored, and yet claims another size than it takes.")
            continue
        inflated_bytes += entry.file_size
        if not _MAY_BE_COMPRESSED.fullmatch(inner):
            raise Refused(f"{shown(inner)} is compressed; torch.jit.save stores everything but code as it is.")
        if entry.file_size > max(MAX_INFLATION * entry.compress_size, _MIN_INFLATED_BYTES):
            raise Refused(f"{shown(inner)} of {entry.compress_size} bytes claims to hold {entry.file_size}.")
    if inflated_bytes > MAX_COMPRESSED_CONTENTS_BYTES:
        raise Refused(
            f"its compressed entries claim to hold {inflated_bytes} bytes; at most "
            f"{MAX_COMPRESSED_CONTENTS_BYTES} are read."
        )


def _vet_names(entries: Sequence[zipfile.ZipInfo]) -> None:
    names: set[str] = set()
    folders: set[str] = set()
    for entry in entries:
        name = entry.orig_filename  # as written; `filename` ends at a zero byte
        if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
            raise Refused(f"an entry has a name of {len(name)} characters.")
        parts = name.split("/")
        if _CONTROL.search(name) or "\\" in name or ".." in parts or name.startswith("/"):
            raise Refused(f"an entry is named {shown(name)}, which leads out of the archive or cannot be shown.")
        # torch's reader takes a name that differs by case for the one that it looks for.
        if name.lower() in names:
            raise Refused(f"two entries are named {shown(name)}, or differ by case only, which torch does not see.")
        if not _LAYOUT.fullmatch(name.partition("/")[2]):
            raise Refused(f"it makes no entry such as {shown(name)}. Load the model with torch.jit.load, and save it.")
        names.add(name.lower())
        folders.add(parts[0])
    if len(folders) > 1:
        raise Refused("its entries stand under more than one folder.")


def shown(name: str) -> str:
    """A stranger's name for people: quoted, without what would steer a terminal, and not too long."""
    limit = 100
    return ascii(name if len(name) <= limit else name[:limit] + "…")
