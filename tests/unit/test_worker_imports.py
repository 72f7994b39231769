"""What the trusted processes of a worker load: neither torch nor grpc, for they are forked for every job."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["process.queue_process", "process.main_process", "command"])
def test_trusted_processes_import_neither_torch_nor_grpc(module: str) -> None:
    program = f"import sys, gradclinic_worker.{module}; print([m for m in ('torch', 'grpc') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"


def test_executors_load_neither_redis_nor_rq_nor_grpc() -> None:
    program = (
        "import sys, gradclinic_worker.process.zygote, gradclinic_worker.analysis;"
        "print([m for m in ('redis', 'rq', 'grpc') if m in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
