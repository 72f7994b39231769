"""Fair turns and tenants from end to end: the real API with tokens, real workers, the SDK."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from safetensors.torch import load_file

from bench.models import save_mlp
from gradclinic import Client
from gradclinic.errors import NotFound
from gradclinic_service.credentials import new_token
from gradclinic_service.identity import Role
from real_stack import RealStack

if TYPE_CHECKING:
    from pathlib import Path

COUNTS = {"big": 12, "small": 5, "other": 5}


def test_whoever_queued_first_does_not_keep_the_others_waiting(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    made = {tenant: new_token(tenant, Role.SUBMIT) for tenant in COUNTS}
    file.write_text("".join(f"{credential}\n" for _, credential in made.values()))
    saved = save_mlp(tmp_path)
    inputs = load_file(saved.inputs)["0"]
    with ExitStack() as cleanup:
        stack = cleanup.enter_context(RealStack(serve_options=("--token-file", str(file))))
        clients = {
            tenant: cleanup.enter_context(Client(stack.target, token=token)) for tenant, (token, _) in made.items()
        }
        handles = [
            (tenant, clients[tenant].submit(saved.model, inputs, depth="quick", seed=seed, priority=seed))
            for tenant, count in COUNTS.items()
            for seed in range(count)
        ]
        assert 22 == sum(client.server_info().usage.queued for client in clients.values())
        for _ in range(2):
            stack.add_worker()
        ended = [(handle.result(timeout=60), tenant) for tenant, handle in handles]
        starts = sorted((done.start_time, tenant, done.spec.seed) for done, tenant in ended)
        assert all(done.state == "SUCCEEDED" for done, _ in ended)
        # While all three wait, that is for five rounds, each has its turns.
        shares = Counter(tenant for _, tenant, _ in starts[:15])
        assert sum(shares.values()) ** 2 / (3 * sum(share**2 for share in shares.values())) >= 0.95, shares
        # Within a tenant the highest priority goes first; two workers may start in the same millisecond.
        for tenant, count in COUNTS.items():
            seeds = [seed for _, whose, seed in starts if whose == tenant]
            assert all(abs(seed - expected) <= 1 for seed, expected in zip(seeds, reversed(range(count)), strict=True))
        for tenant, handle in handles[:1] + handles[-1:]:
            stranger = next(client for name, client in clients.items() if name != tenant)
            with pytest.raises(NotFound):
                stranger.get(handle.id)
        assert {tenant: len(client.list().diagnoses) for tenant, client in clients.items()} == COUNTS


def test_a_tenant_runs_no_more_at_once_than_it_may_and_goes_on_at_once(tmp_path: Path) -> None:
    saved = save_mlp(tmp_path)
    inputs = load_file(saved.inputs)["0"]
    limit = ("--tenant-max-running", "1")
    with RealStack(serve_options=limit, work_options=limit) as stack, Client(stack.target) as client:
        for _ in range(2):
            stack.add_worker()
        handles = [client.submit(saved.model, inputs, depth="quick", seed=seed) for seed in range(6)]
        ended = [handle.result(timeout=60) for handle in handles]
    runs = sorted((done.start_time, done.end_time) for done in ended if done.start_time and done.end_time)
    pauses = [(after - before).total_seconds() for (_, before), (after, _) in pairwise(runs)]
    assert len(pauses) == 5
    assert min(pauses) >= 0  # the other worker had to wait,
    assert sorted(pauses)[2] < 2.0  # but not for the reaper
