"""What running TorchScript raises, and which of its words are the error's own."""

from __future__ import annotations

import torch

RAISES: tuple[type[Exception], ...] = (
    torch.jit.Error,
    RuntimeError,
    IndexError,
    ValueError,
    TypeError,
    NotImplementedError,
)


def split_trace(text: str) -> tuple[str, str]:
    """The last line of what TorchScript raised, which is the error itself, and the whole with its trace."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    marker = "Traceback of TorchScript"
    if not any(marker in line for line in lines):
        return text.strip(), ""
    start = max(i for i, line in enumerate(lines) if "<--- HERE" in line or marker in line)
    said = next((i for i in range(start, len(lines)) if _names_error(lines[i])), len(lines) - 1)
    return " ".join(line.strip() for line in lines[said:]), text.strip()


def _names_error(line: str) -> bool:
    name, colon, _ = line.partition(":")
    return bool(colon) and not line.startswith(" ") and name.replace(".", "").replace("_", "").isalnum()


def is_raised_by_script(error: BaseException | None) -> bool:
    """Whether a script raised it by a statement of its own (`raise`, `assert`), in whatever words."""
    return isinstance(error, torch.jit.Error)
