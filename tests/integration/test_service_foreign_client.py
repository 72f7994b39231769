"""A client made from `proto/` alone, in another language and on another gRPC library, gets its diagnosis."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import gradclinic
from real_stack import RealStack

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "tests" / "e2e" / "foreign_client"
NOT_FOUND = 5  # google.rpc.Code

pytestmark = pytest.mark.system


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script, with the two packages it needs installed beside it."""
    npm = shutil.which("npm")
    if npm is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("npm is missing (Debian: apt-get install npm)")
    folder = tmp_path_factory.mktemp("foreign_client")
    for name in ("package.json", "diagnose.mjs"):
        shutil.copy(CLIENT / name, folder / name)
    subprocess.run([npm, "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder, check=True)
    return folder / "diagnose.mjs"


def saved_model(folder: Path) -> Path:
    torch.manual_seed(0)
    first, last = torch.nn.Linear(8, 16), torch.nn.Linear(16, 2)
    with torch.no_grad():
        first.bias.fill_(-100.0)
    path = folder / "model.pt"
    torch.jit.script(torch.nn.Sequential(first, torch.nn.ReLU(), last)).save(str(path))
    return path


@pytest.mark.timeout(300)
def test_a_foreign_client_creates_watches_and_reads_a_diagnosis(node_client: Path, tmp_path: Path) -> None:
    model = saved_model(tmp_path)
    with RealStack() as stack:
        stack.add_worker()
        told = subprocess.run(
            ["node", str(node_client), stack.target, str(ROOT / "proto"), str(model)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert 0 == told.returncode, told.stderr
    seen = json.loads(told.stdout)
    assert gradclinic.__version__ == seen["version"]
    assert NOT_FOUND == seen["missing"]
    assert seen["same"]
    assert ("DIAGNOSIS_STATE_SUCCEEDED", None) == (seen["state"], seen["failure"])
    assert "DIAGNOSIS_STATE_SUCCEEDED" == seen["states"][-1]
    assert [seen["id"]] == seen["listed"]
    assert "dead-relu" in seen["findings"]
    assert seen["sites"] > 0
