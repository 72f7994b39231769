"""What importing the package costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import gradclinic


def loaded_by(statement: str) -> str:
    code = (
        f"import sys; {statement};"
        "print(*[name for name in ('grpc', 'torch', 'numpy', 'click', 'rich', 'redis') if name in sys.modules])"
    )
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import gradclinic", ""),
        ("import gradclinic.v1.diagnosis_pb2", ""),
        ("import gradclinic_engine.losses", ""),
        ("from gradclinic import Diagnosis, DiagnosisFailed", ""),
        ("from gradclinic import Client, AsyncClient", "grpc"),
        ("import gradclinic.cli", "click"),
    ],
)
def test_nothing_is_imported_before_it_is_needed(statement: str, loaded: str) -> None:
    assert loaded == loaded_by(statement)


def test_every_public_name_is_there() -> None:
    assert all(getattr(gradclinic, name) is not None for name in gradclinic.__all__)
    assert set(gradclinic.__all__) == set(dir(gradclinic))
    with pytest.raises(AttributeError, match="no attribute 'absent'"):
        _ = gradclinic.absent  # type: ignore[attr-defined]  # it is not there
