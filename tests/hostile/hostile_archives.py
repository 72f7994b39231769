"""Archives that mean harm: made from honest ones by rewriting what torch.jit.save wrote."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

FEATURES = 8
CLASSES = 3


class Plain(torch.nn.Module):
    """The module whose code is rewritten; `PLACE` marks where."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(FEATURES, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 8]``; returns ``[N, 3]``."""
        place = torch.zeros_like(x)
        out: torch.Tensor = self.layer(x + place)
        return out


class Stateful(torch.nn.Module):
    """A module that runs code when it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = torch.zeros(1)

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return (self.kept, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        place = torch.zeros_like(state[0])
        self.kept = place
        self.training = state[1]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 8]``; returns its sum per row, three times."""
        return x.sum(1, keepdim=True).expand(x.size(0), 3) + self.kept


def saved(module: torch.nn.Module) -> bytes:
    """A module as torch.jit.save writes it."""
    archive = io.BytesIO()
    torch.jit.save(module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module), archive)
    return archive.getvalue()


def rewritten(archive: bytes, change: Callable[[str, bytes], bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive whose entries went through a function of their inner name and content."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(changed, "w", compression) as after:
        for name in before.namelist():
            inner = name.partition("/")[2]
            if not inner.endswith(".debug_pkl"):  # it would no longer fit the code
                after.writestr(name, change(inner, before.read(name)))
    return changed.getvalue()


def with_code(*lines: str, module: torch.nn.Module | None = None) -> bytes:
    """The plain module with lines of TorchScript in its forward, which may set `place`, a tensor."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith(".py") or b"place = " not in content:
            return content
        code = []
        for line in content.decode().splitlines():
            if "place = " in line:
                code += [line, *(line[: len(line) - len(line.lstrip())] + one for one in lines)]
            else:
                code.append(line)
        return "\n".join(code).encode() + b"\n"

    return rewritten(saved(module or Plain()), change)
