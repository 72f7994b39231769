"""Sealed memory files: what is in them stays as it is, for everybody who has them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradclinic_worker.process import memfd


def open_descriptors() -> set[str]:
    return {entry.name for entry in Path("/proc/self/fd").iterdir()}


def test_a_sealed_file_holds_the_bytes_and_cannot_be_changed() -> None:
    descriptor = memfd.sealed("model", iter([b"abc", b"", b"def"]), lambda: None)
    try:
        path = Path(f"/proc/self/fd/{descriptor}")
        assert path.read_bytes() == b"abcdef"
        with pytest.raises(PermissionError):
            path.write_bytes(b"x")
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def test_nothing_is_left_open_when_writing_is_broken_off() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    before = open_descriptors()
    with pytest.raises(KeyboardInterrupt):
        memfd.sealed("model", iter([b"abc"]), stop)
    assert open_descriptors() == before
