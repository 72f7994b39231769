"""How much memory of Redis one finished diagnosis takes, as long as it is kept."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis
from safetensors.torch import load_file

from bench.measured import Measured
from bench.models import save_deep, save_mlp, save_resnet18
from gradclinic import Client
from real_stack import RealStack

if TYPE_CHECKING:
    from bench.models import Saved

MOST_RECORD_BYTES = 10_000  # of the result of a ResNet-18
EVENTS = ":events:"  # these go ten minutes after the end
RESULT = ":flow:"
DEEP_OPERATIONS = 2000


def measure(*, smoke: bool) -> list[Measured]:
    """Diagnoses models of three sizes and asks Redis for the size of every key that belongs to one diagnosis."""
    with tempfile.TemporaryDirectory(prefix="gradclinic-bench-") as scratch, RealStack() as stack:
        stack.add_worker()
        folder = Path(scratch)
        models = {
            "MLP of 2 layers": save_mlp(folder / "mlp"),
            "ResNet-18": save_resnet18(folder / "resnet"),
            f"{DEEP_OPERATIONS} operations": save_deep(folder / "deep", operations=100 if smoke else DEEP_OPERATIONS),
        }
        with Client(stack.target) as client, redis.Redis.from_url(stack.redis.url) as connection:
            return [_measured(client, connection, name, saved) for name, saved in models.items()]


def _measured(client: Client, connection: Any, name: str, saved: Saved) -> Measured:
    inputs, labels = load_file(saved.inputs)["0"], load_file(saved.target)["target"]
    client.diagnose(saved.model, inputs, target=labels, loss="cross_entropy", seed=1)  # brings what all share
    before = set(connection.scan_iter())
    diagnosis = client.diagnose(saved.model, inputs, target=labels, loss="cross_entropy", seed=2)
    own = [key.decode() for key in connection.scan_iter() if key not in before and b":started:" not in key]
    sizes = {key: int(connection.memory_usage(key, samples=0) or 0) for key in own}
    result = sum(size for key, size in sizes.items() if RESULT in key)
    events = sum(size for key, size in sizes.items() if EVENTS in key)
    return Measured(
        bench="record",
        what=f"bytes of Redis for the result of a diagnosis of {name}",
        value=result,
        at_most=MOST_RECORD_BYTES if name == "ResNet-18" else float("inf"),
        details={
            "sites": len(diagnosis.sites),
            "kept_bytes": sum(sizes.values()) - events,
            "events_bytes": events,
        },
    )
