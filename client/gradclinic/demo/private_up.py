"""A `gradclinic up` of one's own, in a temporary state directory."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic.up.child import Child, Program
from gradclinic.up.command import READY_PREFIX
from gradclinic.up.errors import ChildFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

_START_TIMEOUT_SECONDS = 120.0
_STOP_TIMEOUT_SECONDS = 10.0
_POLL_SECONDS = 0.05


@contextlib.contextmanager
def private_up(device: str = "auto") -> Iterator[str]:
    """Runs a `gradclinic up` and gives the address of its API.

    Raises:
        ChildFailed: it did not start; with the end of its log.
    """
    with tempfile.TemporaryDirectory(prefix="gradclinic-") as directory:
        arguments = (
            *(sys.executable, "-m", "gradclinic", "up", "--listen", "localhost:0", "--metrics-listen", "off"),
            *("--device", device, "--state-dir", str(Path(directory) / "state")),
        )
        child = Child(Program("up", arguments, READY_PREFIX), Path(directory) / "up.log")
        try:
            yield _address(child)
        finally:
            child.signal(signal.SIGTERM)
            if not child.wait(_STOP_TIMEOUT_SECONDS):
                child.signal(signal.SIGKILL)
                child.wait(_STOP_TIMEOUT_SECONDS)
            child.close()


def _address(child: Child) -> str:
    deadline = time.monotonic() + _START_TIMEOUT_SECONDS
    while True:
        child.read_output()
        if child.ready:
            return child.ready_line.removeprefix(READY_PREFIX).strip()
        if not child.alive or time.monotonic() > deadline:
            child.read_output()
            raise ChildFailed(f"`gradclinic up` {child.ending}:\n{child.tail()}")
        time.sleep(_POLL_SECONDS)
