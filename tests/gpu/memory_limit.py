"""A model that wants more memory than it may have fails as such in the cage, and the worker goes on."""

from __future__ import annotations

import io
import sys

import safetensors.torch
import torch

from gpu.check import Check, on_cuda, passed
from gradclinic.v1 import diagnosis_pb2 as pb
from real_redis import RedisServer
from real_worker import RealWorker

GIB_BYTES = 1 << 30
DEVICE_MEMORY_SHARE = 0.05  # of the GPU
HOST_MEMORY_BYTES = GIB_BYTES // 2  # of a dry run
FLOAT_BYTES = 4
FINAL_SECONDS = 90.0
WORK = (sys.executable, "-m", "gradclinic", "work")


class Wanting(torch.nn.Module):
    """Fills so many floats on its input's device; ``[N, 8]`` to ``[N, 8]``."""

    def __init__(self, floats: int) -> None:
        super().__init__()
        self.floats = floats
        self.weight = torch.nn.Parameter(torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``x``: ``[N, 8]``; the same shape."""
        return x * self.weight * x.new_ones(self.floats).mean()


def check(device: torch.device, *, smoke: bool) -> list[Check]:  # noqa: ARG001 - there is one size
    """Half of the limit fits, twice the limit does not, and after that half of it fits again."""
    limit_bytes, options = _limit(device)
    redis = RedisServer()
    redis.start()
    try:
        with RealWorker(redis.url, "--device", str(device), *options, command=WORK) as worker:
            half, double, again = (
                _diagnosed(worker, int(limit_bytes * share) // FLOAT_BYTES, device.type) for share in (0.5, 2.0, 0.5)
            )
    finally:
        redis.remove()
    environment = half.result.environment
    return [
        passed(
            f"a model within the limit of {limit_bytes / GIB_BYTES:.3g} GiB is diagnosed",
            is_right=half.state == pb.DIAGNOSIS_STATE_SUCCEEDED,
            said=half.failure.message,
        ),
        passed(
            "a model that wants twice as much fails with OUT_OF_MEMORY",
            is_right=double.failure.reason == pb.FAILURE_REASON_OUT_OF_MEMORY,
            said=double.failure.message,
        ),
        passed(
            "the worker diagnoses the next model",
            is_right=again.state == pb.DIAGNOSIS_STATE_SUCCEEDED,
            said=again.failure.message,
        ),
        on_cuda(
            device,
            "all of this in the cage, and the GPU's memory is measured",
            is_right=environment.sandbox_level == "cage" and environment.peak_device_memory_bytes > limit_bytes / 2,
            said=f"{environment.sandbox_level}, peak {environment.peak_device_memory_bytes / GIB_BYTES:.3g} GiB",
        ),
    ]


def _limit(device: torch.device) -> tuple[int, tuple[str, str]]:
    if device.type == "cuda":
        total_bytes = torch.cuda.get_device_properties(device).total_memory
        return int(total_bytes * DEVICE_MEMORY_SHARE), ("--device-memory-share", str(DEVICE_MEMORY_SHARE))
    return HOST_MEMORY_BYTES, ("--memory-limit", str(HOST_MEMORY_BYTES))


def _diagnosed(worker: RealWorker, floats: int, device_kind: str) -> pb.Diagnosis:
    archive = io.BytesIO()
    torch.jit.save(torch.jit.script(Wanting(floats)), archive)
    generator = torch.Generator().manual_seed(0)
    spec = pb.DiagnosisSpec(
        model_sha256=worker.upload(archive.getvalue()),
        inputs_sha256=worker.upload(safetensors.torch.save({"0": torch.randn(16, 8, generator=generator)})),
        target_sha256=worker.upload(safetensors.torch.save({"target": torch.arange(16) % 8})),
        depth=pb.DEPTH_QUICK,
    )
    spec.loss.functional.name = "cross_entropy"
    diagnosis, _ = worker.store.diagnoses.create(spec, queue=f"gradclinic:{device_kind}")
    return worker.final(diagnosis.id, FINAL_SECONDS)
