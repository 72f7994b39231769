"""What vetting a large archive takes: it looks at the table of contents and the code, never at the tensors."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from bench.measured import Measured
from bench.models import save_heavy
from gradclinic_engine.torchscript import archive

FULL_SIZE_BYTES, SMOKE_SIZE_BYTES = 1 << 30, 1 << 24
MIB_BYTES = 1 << 20
REPEATS = 3


def measure(*, smoke: bool) -> list[Measured]:
    """One archive with one large tensor, stored as torch.jit.save stores it."""
    size_bytes = SMOKE_SIZE_BYTES if smoke else FULL_SIZE_BYTES
    seconds = []
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch:
        saved = save_heavy(Path(scratch), size_bytes=size_bytes)
        for _ in range(REPEATS):
            started = time.perf_counter()
            archive.vet(str(saved.model), field="model")
            seconds.append(time.perf_counter() - started)
    return [
        Measured(
            bench="vetting",
            what=f"vetting of an archive of {size_bytes // MIB_BYTES} MiB, without hashing and loading, ms",
            value=min(seconds) * 1000,
            at_most=1000.0,
        )
    ]
