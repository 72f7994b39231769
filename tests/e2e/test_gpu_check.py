"""The dry run of `make gpu-check`: every step runs, and says what only a GPU can show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu.__main__ import STEPS

TESTS = Path(__file__).parents[1]
ONLY_ON_CUDA = {"memory_limit", "synchronisations", "analysis_cost"}  # steps that a dry run cannot answer wholly


@pytest.mark.timeout(600)
def test_every_step_runs_without_a_gpu(tmp_path: Path) -> None:
    output = tmp_path / "gpu.json"
    command = (sys.executable, "-m", "gpu", "--device", "cpu", "--smoke", "--output", str(output))
    run = subprocess.run(
        command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(TESTS)}
    )
    assert run.returncode == 0, run.stdout + run.stderr
    checks = json.loads(output.read_text())["checks"]
    assert set(STEPS) == {check["step"] for check in checks}
    assert dict.fromkeys(ONLY_ON_CUDA, "skipped: no CUDA") == {
        check["step"]: check["outcome"] for check in checks if check["outcome"] not in {"passed", "measured"}
    }


def test_a_machine_without_a_gpu_is_refused_with_what_to_do(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(TESTS), "CUDA_VISIBLE_DEVICES": ""}
    command = (sys.executable, "-m", "gpu", "--output", str(tmp_path / "gpu.json"))
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert run.returncode == 2
    assert "finds no CUDA device. `--device cpu` is a dry run." in run.stderr
