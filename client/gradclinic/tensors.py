"""From what users hold (tensors, arrays, lists, nested) to named tensors in the safetensors format.

Works without torch and numpy: neither is imported unless the user hands in
something of it. The format is an 8-byte little-endian header size, a JSON
header with dtype, shape and byte range of each tensor, then the bytes.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gradclinic.errors import BadCall

_DTYPES: Final = {  # torch's or numpy's name -> safetensors' name
    "bool": "BOOL",
    "uint8": "U8",
    "int8": "I8",
    "int16": "I16",
    "uint16": "U16",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float16": "F16",
    "bfloat16": "BF16",
    "float32": "F32",
    "float64": "F64",
    "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}
_HEADER_ALIGNMENT_BYTES: Final = 8
_ARRAY_SUFFIXES: Final = (".npy", ".npz")
_PICKLE_SUFFIXES: Final = (".pt", ".pth", ".pkl", ".pickle", ".bin")


@dataclass(frozen=True, slots=True)
class RawTensor:
    """One tensor as bytes in C order, little-endian."""

    dtype: str  # safetensors' name, for example `F32`
    shape: tuple[int, ...]
    content: bytes


def flatten(value: object, argument: str, single: str = "0") -> dict[str, RawTensor]:
    """Names every tensor of a nested value.

    A tensor is named ``single``; a sequence's items `0`, `1`…; a mapping's by
    key; what is nested by dotted name. A list that holds nothing but numbers
    (nested to any depth) is one tensor.

    Raises:
        BadCall: naming ``argument``, where something is no tensor or cannot be named.
    """
    tensors: dict[str, RawTensor] = {}
    for name, leaf in _leaves(value, (), argument):
        tensors[".".join(name) or single] = raw_tensor(leaf, f"{argument}[{'.'.join(name)}]" if name else argument)
    if not tensors:
        raise BadCall(f"{argument}: there is no tensor in it")
    return tensors


def serialize(tensors: Mapping[str, RawTensor]) -> bytes:
    """A safetensors file; the same tensors always give the same bytes."""
    header: dict[str, Any] = {}
    end = 0
    ordered = sorted(tensors.items(), key=lambda item: (-_width_bytes(item[1]), item[0]))  # wide ones first: aligned
    for name, tensor in ordered:
        start, end = end, end + len(tensor.content)
        header[name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _HEADER_ALIGNMENT_BYTES)
    return b"".join([struct.pack("<Q", len(text)), text, *(tensor.content for _, tensor in ordered)])


def from_file(path: str | os.PathLike[str], argument: str, single: str = "0") -> bytes | Path:
    """What to send for a file: a .safetensors file goes as it is, .npy and .npz are converted.

    Raises:
        BadCall: the file is not there, is a pickle, or is no tensor file.
    """
    path = Path(path)
    if not path.is_file():
        raise BadCall(f"{argument}: there is no file {os.fspath(path)!r}")
    suffix = path.suffix.lower()
    if suffix in _PICKLE_SUFFIXES:
        raise BadCall(
            f"{argument}: {os.fspath(path)!r} looks like a pickle, which is never sent; "
            "save the tensors with safetensors.torch.save_file, or pass them from Python"
        )
    if suffix in _ARRAY_SUFFIXES:
        return serialize(flatten(_load_arrays(path, argument), argument, single))
    _check_safetensors(path, argument)
    return path


def raw_tensor(value: object, argument: str) -> RawTensor:
    """One tensor, array, number or nested list of numbers as bytes.

    Raises:
        BadCall: it is none of these, is ragged, or has a dtype that cannot be sent.
    """
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(value, argument)
    if isinstance(value, (bool, int, float, list)):
        return _from_numbers(value, argument)
    if numpy is not None and (isinstance(value, (numpy.ndarray, numpy.generic)) or hasattr(value, "__array__")):
        return _from_numpy(numpy.asarray(value), numpy, argument)
    raise BadCall(f"{argument}: expected a tensor, an array or numbers, got {type(value).__name__}")


def is_numbers(value: object) -> bool:
    """Whether a value is a list that holds nothing but numbers, nested to any depth."""
    if isinstance(value, list):
        return all(is_numbers(item) for item in value)
    return isinstance(value, (bool, int, float))


def _leaves(value: object, name: tuple[str, ...], argument: str) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            part = str(key)
            if not part or "." in part or not isinstance(key, (str, int)):
                raise BadCall(f"{argument}: {key!r} cannot name a tensor; names are non-empty strings without dots")
            yield from _leaves(item, (*name, part), argument)
    elif isinstance(value, (list, tuple)) and not (isinstance(value, list) and value and is_numbers(value)):
        for index, item in enumerate(value):
            yield from _leaves(item, (*name, str(index)), argument)
    elif value is None:
        where = ".".join(name) or argument
        raise BadCall(f"{argument}: {where!r} is None, which is no tensor; leave it out, or pass it by keyword")
    else:
        yield name, value


def _from_torch(tensor: Any, argument: str) -> RawTensor:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in _DTYPES:
        raise BadCall(f"{argument}: a tensor of dtype {dtype} cannot be sent")
    if str(tensor.layout) != "torch.strided":
        raise BadCall(f"{argument}: a {str(tensor.layout).removeprefix('torch.')} tensor cannot be sent; pass it dense")
    if tensor.device.type == "meta":
        raise BadCall(f"{argument}: a tensor on the meta device has no values")
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    size_bytes = plain.numel() * plain.element_size()
    content = ctypes.string_at(plain.data_ptr(), size_bytes) if size_bytes else b""
    return RawTensor(_DTYPES[dtype], tuple(plain.shape), content)


def _from_numpy(array: Any, numpy: Any, argument: str) -> RawTensor:
    dtype = array.dtype.name
    if dtype not in _DTYPES:
        raise BadCall(f"{argument}: an array of dtype {dtype} cannot be sent")
    shape = tuple(array.shape)  # ascontiguousarray makes a scalar one-dimensional
    return RawTensor(_DTYPES[dtype], shape, numpy.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())


def _from_numbers(value: object, argument: str) -> RawTensor:
    shape = _shape(value, argument)
    numbers = list(_flat(value))
    if numbers and all(isinstance(number, bool) for number in numbers):
        dtype, letter = "BOOL", "?"
    elif numbers and all(isinstance(number, int) for number in numbers):
        dtype, letter = "I64", "q"
    else:
        dtype, letter = "F32", "f"
    try:
        content = struct.pack(f"<{len(numbers)}{letter}", *numbers)
    except (struct.error, OverflowError) as error:
        raise BadCall(f"{argument}: a number does not fit into {dtype.lower()}") from error
    return RawTensor(dtype, shape, content)


def _shape(value: object, argument: str) -> tuple[int, ...]:
    if not isinstance(value, list):
        return ()
    shapes = {_shape(item, argument) for item in value}
    if len(shapes) > 1:
        raise BadCall(f"{argument}: the nested lists have different lengths")
    return (len(value), *(shapes.pop() if shapes else ()))


def _flat(value: object) -> Iterator[object]:
    if isinstance(value, list):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _width_bytes(tensor: RawTensor) -> int:
    count = math.prod(tensor.shape)
    return len(tensor.content) // count if count else 0


def _load_arrays(path: Path, argument: str) -> object:
    try:
        import numpy as np  # noqa: PLC0415 - only who sends arrays needs numpy
    except ImportError as error:
        raise BadCall(f"{argument}: reading {path.suffix} files needs numpy: pip install numpy") from error
    try:
        loaded = np.load(path, allow_pickle=False)
        return dict(loaded) if isinstance(loaded, Mapping) else loaded
    except (ValueError, OSError, EOFError) as error:
        raise BadCall(f"{argument}: cannot read {os.fspath(path)!r}: {error}") from error


def _check_safetensors(path: Path, argument: str) -> None:
    import safetensors  # noqa: PLC0415 - not needed for tensors that are in memory

    try:
        with safetensors.safe_open(path, framework="np") as file:
            names: Sequence[str] = list(file.keys())
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise BadCall(
            f"{argument}: {os.fspath(path)!r} is no safetensors file ({error}); .safetensors, .npy and .npz are read"
        ) from error
    if not names:
        raise BadCall(f"{argument}: there is no tensor in {os.fspath(path)!r}")
