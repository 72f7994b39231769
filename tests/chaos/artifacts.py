"""The same bytes sent by many at once, bytes that vanish or change, and an object store that goes away."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

import grpc

from chaos.caller import MODEL, Caller, GaveUp, stream_of
from chaos.ledger import Broken
from chaos.oracles import check
from chaos.outages import submissions
from gradclinic.v1 import artifact_pb2, artifact_pb2_grpc, diagnosis_pb2
from gradclinic_store.blobs import CHUNK_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

CALLERS = 12
SIZES_BYTES = (1 << 10, (3 << 20) + 1, 24 << 20)
MODEL_KIND = artifact_pb2.ARTIFACT_KIND_MODEL
LOST = diagnosis_pb2.FAILURE_REASON_ARTIFACT_LOST


def together(deployment: Deployment, ledger: Ledger) -> None:
    """Many callers send the same bytes at once, some of them die or lie: every honest one succeeds at the first try."""
    for size_bytes in SIZES_BYTES:
        content = os.urandom(size_bytes)
        with ThreadPoolExecutor(CALLERS + 2) as crowd:
            harm = [crowd.submit(_lie, deployment, ledger, content), crowd.submit(_die, deployment, content)]
            list(crowd.map(lambda _, content=content: _send_once(deployment, ledger, content), range(CALLERS)))
            for each in harm:
                each.result()
        if b"".join(deployment.store.artifacts.read(hashlib.sha256(content).hexdigest())) != content:
            ledger.broke(Broken.LOST, f"{size_bytes} bytes that many sent at once are not what they sent")
        ledger.faults["the same bytes from twelve callers, one that dies and one that lies"] += 1
    with Caller(deployment.target, ledger) as caller:
        caller.create("answer")
        check(deployment, caller)


def lost(deployment: Deployment, ledger: Ledger) -> None:
    """The bytes of a model are deleted, or changed: no verdict about other bytes, and the next upload repairs it."""
    client = deployment.store.connection.client
    with Caller(deployment.target, ledger) as caller:
        for number, how in enumerate(("deleted", "changed") * 3):
            caller.create("answer")
            check(deployment, caller, may_fail=True)
            for key in client.scan_iter(f"{CHUNK_KEY}*"):
                if client.get(key) == MODEL:
                    client.delete(key) if how == "deleted" else client.set(key, b"b" + MODEL[1:])
            ledger.faults[f"the bytes of a model {how}"] += 1
            if how == "changed":  # which shows only when a worker reads them
                doomed = caller.final(caller.create("answer", seed=100 + number))
                if doomed is None or doomed.failure.reason != LOST:
                    ledger.broke(Broken.LOST, f"a diagnosis over changed bytes did not end as ARTIFACT_LOST: {doomed}")
            repaired = caller.final(caller.create("answer", seed=200 + number))
            if repaired is None or repaired.state != diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED:
                ledger.broke(Broken.LOST, f"a model that was sent again has no diagnosis: {repaired}")
        check(deployment, caller, may_fail=True)


def distant(deployment: Deployment, ledger: Ledger) -> None:
    """The S3 server that holds the artifacts is killed, or stops to answer: what was accepted waits for it."""
    with Caller(deployment.target, ledger) as caller:
        for seconds in (3.0, 8.0):
            with submissions(caller):
                time.sleep(1.0)
                deployment.s3.stop()
                uploading = _aside(caller, os.urandom(9 << 20))
                time.sleep(seconds)
                deployment.s3.start()
                uploading.join()
            check(deployment, caller)
            ledger.faults[f"the object store dead for {seconds:g} s"] += 1
        with submissions(caller):
            deployment.s3.send(signal.SIGSTOP)
            time.sleep(4.0)
            deployment.s3.send(signal.SIGCONT)
        check(deployment, caller)
        ledger.faults["the object store stopped for 4 s"] += 1


def _aside(caller: Caller, content: bytes) -> threading.Thread:
    thread = threading.Thread(target=caller.upload, args=(content,))
    thread.start()
    return thread


def _send_once(deployment: Deployment, ledger: Ledger, content: bytes) -> None:
    with Caller(deployment.target, ledger, patience_seconds=0.0) as caller:
        try:
            caller.upload(content)
        except (GaveUp, grpc.RpcError) as error:
            ledger.broke(Broken.UNCLEAR, f"one of many who sent the same {len(content)} bytes was refused: {error}")


def _lie(deployment: Deployment, ledger: Ledger, content: bytes) -> None:
    """Send other bytes under the same name."""
    wrong = content[: len(content) // 2] + bytes(len(content) - len(content) // 2)

    def messages() -> Iterator[artifact_pb2.UploadArtifactRequest]:
        yield next(stream_of(content, MODEL_KIND, 0, 0.0))
        yield from islice(stream_of(wrong, MODEL_KIND, 0, 0.0), 1, None)

    with Caller(deployment.target, ledger) as caller:
        try:
            caller.artifacts.UploadArtifact(messages(), timeout=30.0)
        except grpc.RpcError as error:
            ledger.note(error.code().name)


def _die(deployment: Deployment, content: bytes) -> None:
    """Send a part, and go."""
    with grpc.insecure_channel(deployment.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = artifact_pb2_grpc.ArtifactServiceStub(channel)
        call = stub.UploadArtifact.future(islice(stream_of(content, MODEL_KIND, 0, 0.02), 5))
        time.sleep(0.05)
        call.cancel()
