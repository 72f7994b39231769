"""Every wild architecture gets a diagnosis: none is refused, and none meets a defect of ours."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("wild.architecture", reason="`make wild` installs what architectures are made with")

from zoo import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own warnings say nothing about us


@pytest.fixture(scope="session")
def engine() -> Iterator[ProcessPoolExecutor]:
    """A process that has never seen the code of an architecture, as in the service."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.mark.parametrize("name", sorted(snapshot.part("wild")))
def test_an_architecture_is_diagnosed(name: str, engine: ProcessPoolExecutor, tmp_path: Path) -> None:
    asked = snapshot.archived(name, tmp_path / "case")
    assert not isinstance(asked, str), asked
    assert "failed" not in engine.submit(snapshot.answer, asked).result()
