"""What must be true after each fault, once things are quiet again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil

from chaos.deployment import collect_zombies
from chaos.ledger import FINAL_STATES, Broken
from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.tenants import DEFAULT_TENANT

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.caller import Caller
    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

QUIET_WITHIN_SECONDS = 5.0
SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
RQ_REGISTRIES = ("rq:wip:gradclinic:cpu", "rq:failed:gradclinic:cpu")
RQ_POPPED = "rq:queue:gradclinic:cpu:intermediate"  # the reaper waits a while before it forgets what a dead worker took
POPPED_GONE_WITHIN_SECONDS = 30.0
# What may be there while nothing is in flight, by the part of the key after the prefix.
LASTING = (
    *("diagnosis", "flow", "events", "request", "reuse", "index", "retention", "counters", "sequence", "token"),
    *("artifact", "artifacts", "bytes", "chunk", "chunks", "stored_bytes", "queues", "worker", "workers"),
    *("turns", "level", "started", "named", "dropped", "rate", "crashes"),
)


def check(deployment: Deployment, caller: Caller, *, may_fail: bool = False) -> None:
    """Wait for every open diagnosis, then look at everything; breaches go into the caller's ledger."""
    ledger = caller.ledger
    for diagnosis_id in ledger.open():
        _ended(caller, diagnosis_id, may_fail=may_fail)
    for diagnosis_id in list(ledger.shown):
        caller.get(diagnosis_id)  # the same as at first
    _one_end_each(deployment, ledger)
    _one_diagnosis_per_request(deployment, ledger)
    _until_none(lambda: strays(deployment), ledger, Broken.ESCAPED)
    _until_none(lambda: leaks(deployment), ledger, Broken.ESCAPED)
    _balanced(deployment, ledger)


def check_popped(deployment: Deployment, ledger: Ledger) -> None:
    """At the end of a scene: what a dead worker had taken is forgotten in time."""
    client: Any = deployment.store.connection.client
    deadline = time.monotonic() + POPPED_GONE_WITHIN_SECONDS
    while client.llen(RQ_POPPED):
        if time.monotonic() > deadline:
            ledger.broke(Broken.ESCAPED, f"{client.llen(RQ_POPPED)} tickets of dead workers are kept")
            return
        time.sleep(0.2)


def events_key(diagnosis_id: str) -> str:
    """Return where the events of a diagnosis are."""
    return f"gradclinic:events:{DEFAULT_TENANT}:{diagnosis_id}"


def strays(deployment: Deployment | None) -> list[str]:
    """Return the processes that belong to nobody any more."""
    known = deployment.tree() if deployment else set()
    collect_zombies(known)
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.pid not in known and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"process {process.pid}: {' '.join(process.cmdline())[:200]}")
        except psutil.NoSuchProcess:
            continue
    return found


def leaks(deployment: Deployment) -> list[str]:
    """Return the keys and bytes that nothing needs while nothing is in flight."""
    client = deployment.store.connection.client
    keys = {key.decode() for key in client.scan_iter("*", count=1000)}
    found = [key for key in keys if key.startswith("gradclinic:") and key.split(":")[1] not in LASTING]
    found += _leaks_of_rq(client, keys)
    found += _lost_chunks(client, keys)
    stored = sum(int(client.hget(key, "size_bytes") or 0) for key in keys if key.startswith("gradclinic:bytes:"))
    if stored != (counted := deployment.store.counters.read().stored_bytes):
        found.append(f"{counted} bytes are counted as stored, and {stored} are there")
    return found


def _leaks_of_rq(client: Any, keys: set[str]) -> list[str]:
    """Return the keys of rq's that would stay for ever though no job is left.

    What a worker that was killed had begun stands in a registry, which rq itself clears after a while.
    """
    members = [name for key in RQ_REGISTRIES for name in client.zrange(key, 0, -1)]
    begun = {name.decode().partition(":")[0] for name in [*members, *client.lrange(RQ_POPPED, 0, -1)]}
    found = []
    for key in keys:
        kind = key.partition(":")[2].partition(":")[0]
        lasting = (
            key in {*RQ_REGISTRIES, RQ_POPPED}
            or kind in {"queues", "workers", "worker"}
            or key.rpartition(":")[2] in begun
        )
        if key.startswith("rq:") and not lasting and client.pttl(key) == -1:
            found.append(key)
    return found


def _lost_chunks(client: Any, keys: set[str]) -> list[str]:
    wanted = set()
    for key in keys:
        if key.startswith("gradclinic:chunks:"):
            wanted |= {f"gradclinic:chunk:{name.decode()}" for name in client.lrange(key, 0, -1)}
    blobs = {client.hget(key, "blob").decode() for key in keys if key.startswith("gradclinic:bytes:")}
    unowned = [key for key in keys if key.startswith("gradclinic:chunks:") and key.rpartition(":")[2] not in blobs]
    # Chunks whose writer died before it noted them go by themselves.
    left = [key for key in keys if key.startswith("gradclinic:chunk:") and key not in wanted and client.pttl(key) == -1]
    return unowned + left


def _ended(caller: Caller, diagnosis_id: str, *, may_fail: bool) -> None:
    diagnosis = caller.final(diagnosis_id)
    if diagnosis is None:
        caller.ledger.broke(Broken.LOST, f"{diagnosis_id} does not end")
    elif diagnosis.state != SUCCEEDED and not may_fail:
        state = diagnosis_pb2.DiagnosisState.Name(diagnosis.state)
        caller.ledger.broke(Broken.LOST, f"{diagnosis_id} ended as {state}: {diagnosis.failure.message}")


def _one_end_each(deployment: Deployment, ledger: Ledger) -> None:
    final = {str(state).encode() for state in FINAL_STATES}
    with deployment.store.connection.client.pipeline(transaction=False) as pipeline:
        for diagnosis_id in ledger.accepted:
            pipeline.xrange(events_key(diagnosis_id))
        streams = pipeline.execute()
    for diagnosis_id, entries in zip(ledger.accepted, streams, strict=True):
        ends = [fields[b"state"] for _, fields in entries if fields[b"state"] in final]
        if len(ends) != 1:
            ledger.broke(Broken.TWICE if ends else Broken.LOST, f"{diagnosis_id} has {len(ends)} final events")


def _one_diagnosis_per_request(deployment: Deployment, ledger: Ledger) -> None:
    wanted = diagnosis_pb2.DiagnosisFilter(run=ledger.scene)
    listed: dict[str, list[str]] = {}
    token = ""
    while True:
        page, token = deployment.store.diagnoses.page(wanted, 1000, token)
        for diagnosis in page:
            listed.setdefault(diagnosis.request_id, []).append(diagnosis.id)
        if not token:
            break
    for request_id, ids in listed.items():
        if len(ids) > 1:
            ledger.broke(Broken.TWICE, f"request {request_id} made {len(ids)} diagnoses")
    missing = set(ledger.accepted.values()) - set(listed)
    for request_id in missing:
        ledger.broke(Broken.LOST, f"request {request_id} was accepted and is not listed")


def _balanced(deployment: Deployment, ledger: Ledger) -> None:
    totals = deployment.store.counters.read()
    done = sum(totals.completed.values()) + totals.in_flight
    if totals.submitted != done:
        ledger.broke(Broken.UNBALANCED, f"{totals.submitted} submitted, {done} completed or in flight")


def _until_none(look: Callable[[], list[str]], ledger: Ledger, promise: Broken) -> None:
    deadline = time.monotonic() + QUIET_WITHIN_SECONDS
    while found := look():
        if time.monotonic() > deadline:
            for each in found:
                ledger.broke(promise, each)
            return
        time.sleep(0.2)
