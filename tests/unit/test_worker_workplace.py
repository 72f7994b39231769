"""The directory of a worker's sockets goes away, also after a worker that was killed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic_worker.process import workplace

if TYPE_CHECKING:
    import pytest


def test_only_directories_that_nobody_holds_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    abandoned, young, foreign = (tmp_path / name for name in ("gradclinic-worker-a", "gradclinic-worker-b", "other"))
    for directory in (abandoned, young, foreign):
        directory.mkdir()
        (directory / "zygote.sock").touch()
    for directory in (abandoned, foreign):
        os.utime(directory, (0, 0))
    with workplace.workplace() as held:
        os.utime(held, (0, 0))
        workplace.remove_abandoned(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([young, foreign, Path(held)])
        assert Path(held).stat().st_mode & 0o777 == 0o700
    assert not Path(held).exists()
