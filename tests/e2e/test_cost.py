"""What one diagnosis costs in Redis: commands while it is made, bytes while it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from gradclinic import Client
from real_stack import RealStack

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

DIAGNOSES = 20
MOST_COMMANDS = 100  # of one small diagnosis, those inside of scripts included


@pytest.fixture
def quiet_stack() -> Iterator[RealStack]:
    """A stack whose reaper sleeps, so that what is counted is the job's own."""
    with RealStack(serve_options=("--reap-interval", "3600")) as stack:
        stack.add_worker()
        yield stack


def commands(client: Any) -> int:
    """How many commands Redis has executed, those inside of scripts included."""
    return sum(told["calls"] for told in client.info("commandstats").values())


def test_a_small_diagnosis_takes_few_commands(
    quiet_stack: RealStack, mlp: nn.Module, inputs: torch.Tensor, target: torch.Tensor
) -> None:
    client = redis.Redis.from_url(quiet_stack.redis.url)
    with Client(quiet_stack.target) as caller:

        def diagnose(seed: int) -> None:
            caller.diagnose(mlp, inputs, target=target, loss="cross_entropy", seed=seed)

        diagnose(0)  # uploads
        taken = []
        for seed in range(1, 1 + DIAGNOSES):
            before = commands(client)
            diagnose(seed)
            taken.append(commands(client) - before)
        assert MOST_COMMANDS >= min(
            taken
        )  # of those that a busy machine did not slow: each second costs a sign of life
    client.close()
