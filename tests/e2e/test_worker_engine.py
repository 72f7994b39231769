"""A real worker with the real engine: models that a worker must survive, and one that is well."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch

from gradclinic.v1 import diagnosis_pb2
from gradclinic_engine.judging.judgement import MAX_ALIKE
from real_worker import RealWorker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from real_redis import RedisServer

GRADCLINIC = str(Path(sys.executable).with_name("gradclinic"))


class Classifier(torch.nn.Module):
    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, width)
        self.second = torch.nn.Linear(width, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(torch.tanh(self.first(x)))
        return out


class Endless(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while bool(x.sum() > -1e30):
            x = x + 1.0
        return x * self.weight


class Hungry(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * torch.ones(1073741824).sum()


class Prompted(torch.nn.Module):
    """Reads one of its 1,003 prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(8, 3)
        self.prompts = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(8)) for _ in range(1003)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(x + self.prompts[0])
        return out


@pytest.fixture(scope="module")
def worker(redis_server: RedisServer) -> Iterator[RealWorker]:
    with RealWorker(redis_server.url, "--memory-limit", "2GiB", command=(GRADCLINIC, "work")) as worker:
        yield worker


def diagnose(worker: RealWorker, model: torch.nn.Module, timeout_seconds: int = 60) -> diagnosis_pb2.Diagnosis:
    generator = torch.Generator().manual_seed(0)
    archive = io.BytesIO()
    torch.jit.save(model if isinstance(model, torch.jit.ScriptModule) else torch.jit.script(model), archive)
    target = torch.randint(0, 3, (32,), generator=generator)
    spec = diagnosis_pb2.DiagnosisSpec(
        model_sha256=worker.upload(archive.getvalue()),
        inputs_sha256=worker.upload(safetensors.torch.save({"0": torch.randn(32, 8, generator=generator)})),
        target_sha256=worker.upload(safetensors.torch.save({"target": target})),
        depth=diagnosis_pb2.DEPTH_QUICK,
    )
    spec.loss.functional.name = "cross_entropy"
    spec.timeout.FromSeconds(timeout_seconds)
    return worker.final(worker.create(spec), 60.0)


def test_a_healthy_model_is_diagnosed(worker: RealWorker) -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(worker, Classifier())
    assert diagnosis.state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, diagnosis.failure
    environment = diagnosis.result.environment
    assert (environment.sandbox_level, environment.threads) == ("cage", 1)
    assert environment.timings[0].stage == diagnosis_pb2.DIAGNOSIS_STAGE_FETCH
    assert {parameter.name for parameter in diagnosis.result.parameters} == {
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
    }


def test_a_small_run_has_one_thread_and_a_larger_one_all_of_them(redis_server: RedisServer) -> None:
    torch.manual_seed(0)
    with RealWorker(redis_server.url, "--threads", "2", command=(GRADCLINIC, "work")) as worker:
        small, larger = (diagnose(worker, Classifier(width)) for width in (16, 4096))
    assert (1, 2) == (small.result.environment.threads, larger.result.environment.threads)


def test_a_thousand_findings_are_those_of_an_honest_model(worker: RealWorker) -> None:
    torch.manual_seed(0)
    diagnosis = diagnose(worker, torch.jit.trace(Prompted(), torch.zeros(32, 8)))
    assert diagnosis.state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED, diagnosis.failure
    unused = [finding for finding in diagnosis.result.findings if finding.code == "unused-parameter"]
    assert MAX_ALIKE == len(unused)
    assert [f"prompts.{number}" for number in range(1, 1003)] == [name for one in unused for name in one.affected]


def test_a_model_that_never_ends_is_ended(worker: RealWorker) -> None:
    failure = diagnose(worker, Endless(), timeout_seconds=2).failure
    assert failure.reason == diagnosis_pb2.FAILURE_REASON_TIMED_OUT


def test_a_model_that_takes_all_memory_meets_its_limit(worker: RealWorker) -> None:
    failure = diagnose(worker, Hungry()).failure
    assert failure.reason == diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY, failure


def test_the_next_job_runs(worker: RealWorker) -> None:
    assert diagnose(worker, Classifier()).state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED


def test_the_log_of_the_worker_holds_no_warning_of_python(worker: RealWorker) -> None:
    assert "Warning" not in worker.log
