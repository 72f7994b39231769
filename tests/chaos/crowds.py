"""More callers than there is room for, uploads that never end, and callers that vanish."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import psutil

from chaos.caller import INPUTS, MODEL, Caller, GaveUp, stream_of
from chaos.deployment import awaited
from chaos.ledger import Broken, Ledger
from chaos.oracles import check
from gradclinic.v1 import artifact_pb2, diagnosis_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.deployment import Deployment

ROOM = 40  # diagnoses that may wait
OVERLOAD = 3 * ROOM
UPLOADS_AT_ONCE = 8
IDLE_SECONDS = 2.0
LORIS = 12
WATCHERS = 40
KEPT_CONNECTIONS = 20  # to Redis, by the store's threads and for the next watches
SERVE = (
    *("--max-queued", str(ROOM), "--max-concurrent-uploads", str(UPLOADS_AT_ONCE)),
    *("--upload-idle", str(IDLE_SECONDS)),
)


def overload(deployment: Deployment, ledger: Ledger) -> None:
    """Three times as many requests at once as may wait: who is turned away is told when to come again."""
    with Caller(deployment.target, ledger) as caller, Caller(deployment.target, ledger, 0.0) as hasty:
        caller.upload(MODEL)
        caller.upload(INPUTS, artifact_pb2.ARTIFACT_KIND_TENSORS)

        def ask(number: int) -> None:
            try:
                hasty.create("answer", seed=number)
            except GaveUp:
                ledger.refused += 1

        with deployment.paused("queue"), ThreadPoolExecutor(24) as crowd:
            list(crowd.map(ask, range(OVERLOAD)))
        ledger.faults["requests at once, three times what may wait"] += 1
        if not ROOM <= len(ledger.accepted) < OVERLOAD or len(ledger.accepted) + ledger.refused != OVERLOAD:
            ledger.broke(Broken.UNCLEAR, f"{len(ledger.accepted)} accepted and {ledger.refused} refused of {OVERLOAD}")
        check(deployment, caller)


def loris(deployment: Deployment, ledger: Ledger) -> None:
    """Uploads that send a byte now and then take every place; an honest one still gets through."""
    stop = threading.Event()

    def drip() -> Iterator[artifact_pb2.UploadArtifactRequest]:
        content = os.urandom(1 << 20)
        yield next(stream_of(content, artifact_pb2.ARTIFACT_KIND_MODEL, 0, 0.0))
        for offset in range(len(content)):
            if stop.wait(0.4):
                return
            chunk = artifact_pb2.ArtifactChunk(offset_bytes=offset, content=content[offset : offset + 1])
            yield artifact_pb2.UploadArtifactRequest(chunk=chunk)

    def torment(tormentor: Caller) -> None:
        while not stop.is_set():
            try:
                tormentor.artifacts.UploadArtifact(drip(), timeout=60.0)
            except grpc.RpcError as error:
                ledger.note(error.code().name)
                stop.wait(0.2)

    tormentors = [Caller(deployment.target, ledger) for _ in range(LORIS)]
    threads = [threading.Thread(target=torment, args=(each,)) for each in tormentors]
    for thread in threads:
        thread.start()
    try:
        time.sleep(1.0)
        with Caller(deployment.target, ledger) as caller:
            began = time.monotonic()
            caller.upload(os.urandom(3 << 20))
            ledger.details["upload among slow ones, seconds"] = round(time.monotonic() - began, 2)
            caller.create("answer")
            ledger.faults["uploads that send a byte now and then"] += LORIS
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for each in tormentors:
            each.__exit__()
    deployment.store.connection.client.zadd("gradclinic:parts", _all_parts(deployment), xx=True)  # their time is over
    with Caller(deployment.target, ledger) as caller:
        check(deployment, caller)


def vanish(deployment: Deployment, ledger: Ledger) -> None:
    """A process with many open watches and uploads is killed: the API lets go of all of them."""
    api = psutil.Process(deployment.api.process.pid)
    with Caller(deployment.target, ledger) as caller:
        caller.create("answer")
        check(deployment, caller)
        before = api.num_fds()
        watched = caller.create("endless")
        contents = [os.urandom(2 << 20) for _ in range(4)]
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=hold_open, args=(deployment.target, watched, contents))
        process.start()
        awaited(lambda: api.num_fds() > before or None, "open calls", 20.0)
        time.sleep(3.0)
        process.kill()
        process.join()
        ledger.faults["callers killed with open streams"] += 1
        for content in contents:
            caller.upload(content)  # goes on where the dead one was
        caller.cancel(watched)
        check(deployment, caller, may_fail=True)
        try:
            awaited(lambda: api.num_fds() <= before + KEPT_CONNECTIONS or None, "closed descriptors", 15.0)
        except TimeoutError:
            ledger.broke(Broken.ESCAPED, f"the API has {api.num_fds()} descriptors, before {before}")


def hold_open(target: str, diagnosis_id: str, contents: list[bytes]) -> None:
    """Open watches and uploads, and never close them; runs in a process of its own."""
    with Caller(target, Ledger("held open")) as caller:
        request = diagnosis_pb2.WatchDiagnosisRequest(id=diagnosis_id)
        watches = [caller.diagnoses.WatchDiagnosis(request) for _ in range(WATCHERS)]
        uploads = [
            caller.artifacts.UploadArtifact.future(stream_of(each, artifact_pb2.ARTIFACT_KIND_MODEL, 0, 1.0))
            for each in contents
        ]
        for watch in watches:
            next(watch)
        for upload in uploads:
            upload.result()


def _all_parts(deployment: Deployment) -> dict[str, int]:
    parts: Any = deployment.store.connection.client.zrange("gradclinic:parts", 0, -1)
    return {part.decode(): 1 for part in parts} or {"none": 1}
