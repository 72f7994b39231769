"""How torch and the C++ library below it say that memory has run out, wherever it is said."""

from __future__ import annotations

import torch

_MARKS = (
    "DefaultCPUAllocator: can't allocate",
    "DefaultCPUAllocator: not enough memory",
    "std::bad_alloc",
    "vector::_M_",  # a length that no vector can have
    "basic_string::",
)


def says_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory, of the host or of the device, has run out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in _MARKS)
