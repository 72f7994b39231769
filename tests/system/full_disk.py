"""`python tests/system/full_disk.py files|redis`, with TMPDIR on a small disk: a stack lives through its being full.

Prints as JSON what a caller saw before, while and after.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from gradclinic import Client, GradclinicError
from real_stack import RealStack

CALL_SECONDS = 5.0
GIVE_UP_SECONDS = 60.0


def diagnose(target: str, seed: int, *, width: int = 8) -> str:
    """The verdict on a small model of its own, or what was said instead."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2))
    try:
        with Client(target, timeout=CALL_SECONDS) as client:
            return str(client.diagnose(model, torch.randn(8, width), wait=60).verdict)
    except GradclinicError as error:
        return f"{type(error).__name__}: {error}"


def fill(disk: Path) -> Path:
    """Writes until there is no room for another page."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def main() -> None:
    """Play it through."""
    disk = Path(tempfile.gettempdir())
    blobs = disk / "blobs"
    blobs.mkdir()
    options = ("--blob-url", f"file://{blobs}") if sys.argv[1] == "files" else ()
    saw: dict[str, object] = {}
    with RealStack(serve_options=options, work_options=options) as stack:
        stack.add_worker()
        saw["before"] = diagnose(stack.target, 0)
        with Client(stack.target) as client:
            (first,) = client.list().diagnoses
        filler = fill(disk)
        saw["large"] = diagnose(stack.target, 1, width=512)
        saw["small"] = diagnose(stack.target, 2)
        filler.unlink()
        deadline = time.monotonic() + GIVE_UP_SECONDS
        while (verdict := diagnose(stack.target, 3)) != "HEALTHY" and time.monotonic() < deadline:
            time.sleep(0.5)
        saw["after"] = verdict
        with Client(stack.target) as client:
            saw["first"] = client.get(first.id).verdict
            saw["states"] = sorted(each.state for each in client.list().diagnoses)
        saw["running"] = [process.process.poll() is None for process in (stack.service, *stack.workers)]
    sys.stdout.write(json.dumps(saw) + os.linesep)


if __name__ == "__main__":
    main()
