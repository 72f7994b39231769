"""Fixtures of the system tests: programs that come from system packages, and the deployment's own files."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from system.absent import absent

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def deploy() -> Path:
    """The folder `deploy/`."""
    return ROOT / "deploy"


@pytest.fixture(scope="session")
def program() -> Callable[[str, str], str]:
    """Finds a program by its name; where it is missing, says how to get it: a skip, but in CI a failure."""

    def find(name: str, remedy: str) -> str:
        beside_python = Path(sys.executable).parent
        path = shutil.which(name, path=f"{beside_python}{os.pathsep}{os.environ['PATH']}")
        if path is None:
            absent(f"{name} is missing: {remedy}")
        return str(path)

    return find
