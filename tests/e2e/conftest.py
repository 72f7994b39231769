"""Fixtures of the end-to-end tests: one real stack for the run, clients of it, and a model that is well."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
import torch
from torch import nn

from gradclinic import Client
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def stack() -> Iterator[RealStack]:
    """A real Redis, API and CPU worker."""
    with RealStack() as stack:
        stack.add_worker()
        yield stack


@pytest.fixture
def client(stack: RealStack) -> Iterator[Client]:
    """A client of the stack."""
    with Client(stack.target) as client:
        yield client


@pytest.fixture
def channel(stack: RealStack) -> Iterator[grpc.Channel]:
    """A bare gRPC channel to the stack, for what the client would never send."""
    with grpc.insecure_channel(stack.target) as channel:
        yield channel


@pytest.fixture(scope="session")
def mlp() -> nn.Module:
    """A classifier ``[N, 8]`` to ``[N, 3]`` in which nothing is wrong."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


@pytest.fixture(scope="session")
def inputs() -> torch.Tensor:
    """Inputs of the classifier, ``[32, 8]``."""
    return torch.randn(32, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def target() -> torch.Tensor:
    """Class indices for the inputs, ``[32]``."""
    return torch.randint(3, (32,), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def next_job_runs(client: Client, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor) -> Iterator[None]:
    """After the test, the stack still diagnoses: what a test sent has harmed nobody."""
    yield
    diagnosis = client.diagnose(mlp, inputs, target=target, loss="cross_entropy", reuse=False, wait=30)
    assert "HEALTHY" == diagnosis.verdict
