"""Bringing a diagnosis to a stage, and keeping it there until told otherwise."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from chaos.deployment import awaited
from chaos.ledger import Broken
from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.connection import source
from redis_proxy import Fate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.caller import Caller
    from chaos.deployment import Deployment
    from redis_proxy import RedisProxy

SPRUNG_WITHIN_SECONDS = 20.0


@contextmanager
def trapped(
    proxy: RedisProxy, mark: str, fate: Fate, times: int = 1
) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Set a trap for a script (or for commands with a mark in capitals); gives how to await it, and how to open it."""
    sha1 = hashlib.sha1(source(mark).encode(), usedforsecurity=False).hexdigest() if mark.islower() else mark
    trap = proxy.trap(sha1.encode(), fate, times)

    def spring() -> None:
        awaited(lambda: trap.sprung.is_set() or None, f"call of {mark}", SPRUNG_WITHIN_SECONDS)

    try:
        yield spring, trap.release
    finally:
        trap.release()


@contextmanager
def _uploading(deployment: Deployment, caller: Caller) -> Iterator[Callable[[], None]]:
    content = os.urandom(7 << 20)
    sha256 = hashlib.sha256(content).hexdigest()
    with ThreadPoolExecutor(1) as aside:
        uploading = aside.submit(caller.upload, content, pause_seconds=0.03)
        awaited(lambda: deployment.store.artifacts.received(sha256), "bytes of the upload")
        yield lambda: None
        uploading.result()
    if b"".join(deployment.store.artifacts.read(sha256)) != content:
        caller.ledger.broke(Broken.LOST, f"the artifact {sha256} is not what was uploaded")
    caller.create("stages")


@contextmanager
def _accepting(deployment: Deployment, caller: Caller) -> Iterator[Callable[[], None]]:
    caller.create("answer")  # the artifacts are there
    held = trapped(deployment.api_proxy, "create", Fate.HOLD_ANSWER)
    with ThreadPoolExecutor(1) as aside, held as (spring, release):
        creating = aside.submit(caller.create, "stages")
        spring()
        yield release
        creating.result()


@contextmanager
def _queued(deployment: Deployment, caller: Caller) -> Iterator[Callable[[], None]]:
    del deployment
    for _ in range(3):  # the first of them runs
        caller.create("stages")
    yield lambda: None


@contextmanager
def _held(deployment: Deployment, caller: Caller, script: str, fate: Fate) -> Iterator[Callable[[], None]]:
    with trapped(deployment.worker_proxy, script, fate) as (spring, release):
        diagnosis_id = caller.create("stages")
        spring()
        if script == "succeed" and fate is Fate.HOLD_ANSWER:
            caller.final(diagnosis_id)  # shown: from now on it may not change any more
        yield release


@contextmanager
def running(deployment: Deployment, caller: Caller, stage: str, body: str = "stages") -> Iterator[Callable[[], None]]:
    """Have an executor be in a stage."""
    wanted = diagnosis_pb2.DiagnosisStage.Value(f"DIAGNOSIS_STAGE_{stage.upper()}")
    diagnosis_id = caller.create(body)
    awaited(lambda: deployment.store.diagnoses.get(diagnosis_id, full=False).stage == wanted or None, stage)
    yield lambda: None


STAGES: dict[str, Callable[[Deployment, Caller], AbstractContextManager[Callable[[], None]]]] = {
    "uploading": _uploading,
    "accepting": _accepting,
    "queued": _queued,
    "popped": lambda deployment, caller: _held(deployment, caller, "start", Fate.HOLD_COMMAND),
    "leased": lambda deployment, caller: _held(deployment, caller, "start", Fate.HOLD_ANSWER),
    "forward": lambda deployment, caller: running(deployment, caller, "forward"),
    "backward": lambda deployment, caller: running(deployment, caller, "backward"),
    "storing": lambda deployment, caller: _held(deployment, caller, "succeed", Fate.HOLD_COMMAND),
    "stored": lambda deployment, caller: _held(deployment, caller, "succeed", Fate.HOLD_ANSWER),
}
