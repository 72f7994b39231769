"""A disk that is full: what callers are told, and that everything goes on when there is room again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

TESTS = Path(__file__).parents[1]
SCRIPT = Path(__file__).with_name("full_disk.py")
MOUNT = 'mount -t tmpfs -o size=24m tmpfs "$TMPDIR" && exec "$@"'  # seen by this process and its children alone


@pytest.fixture
def on_a_small_disk(program: Callable[[str, str], str], tmp_path: Path) -> list[str]:
    """What stands before a command that shall have a disk of 24 MiB at TMPDIR."""
    unshare = [program("unshare", "install util-linux"), "--map-root-user", "--mount"]
    before = [*unshare, "sh", "-c", MOUNT, "sh"]
    if subprocess.run([*before, "true"], env={**os.environ, "TMPDIR": str(tmp_path)}, check=False).returncode:
        pytest.skip("this kernel lets nobody mount a file system in a user namespace of his own")
    return before


@pytest.mark.parametrize(
    ("artifacts", "said"),
    [
        ("files", "LimitExceeded: the disk of the blob store is full; its operator has to make room"),
        ("redis", "ServiceUnavailable: Redis takes no writes: it cannot write its own file, is its disk full?"),
    ],
)
def test_a_full_disk_is_told_and_survived(
    on_a_small_disk: list[str], tmp_path: Path, artifacts: str, said: str
) -> None:
    done = subprocess.run(
        [*on_a_small_disk, sys.executable, "-W", "ignore", str(SCRIPT), artifacts],
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    saw = json.loads(done.stdout)
    assert saw["before"] == "HEALTHY"
    assert (saw["large"], saw["small"]) == (said, said)
    assert (saw["after"], saw["first"]) == ("HEALTHY", "HEALTHY")
    assert set(saw["states"]) == {"SUCCEEDED"}
    assert all(saw["running"])
