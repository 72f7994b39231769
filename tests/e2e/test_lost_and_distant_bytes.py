"""A real worker whose artifacts lie in an object store that goes away, or have changed where they lie."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.blobs import CHUNK_KEY
from real_worker import MODEL, RealWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer
    from real_s3 import S3Server

SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
ARTIFACT_LOST = diagnosis_pb2.FAILURE_REASON_ARTIFACT_LOST


def test_a_diagnosis_over_changed_bytes_has_no_verdict_and_the_next_upload_repairs_them(
    private_redis: Callable[..., RedisServer],
) -> None:
    with RealWorker(private_redis().url) as worker:
        assert SUCCEEDED == worker.final(worker.submit("answer")).state
        client = worker.store.connection.client
        for key in client.scan_iter(f"{CHUNK_KEY}*"):
            if client.get(key) == MODEL:
                client.set(key, b"b" + MODEL[1:])
        diagnosis = worker.final(worker.submit("answer", seed=1))
        assert (ARTIFACT_LOST, "spec.model_sha256") == (diagnosis.failure.reason, diagnosis.failure.field)
        assert "Upload the artifact again" in diagnosis.failure.message
        assert SUCCEEDED == worker.final(worker.submit("answer", seed=2)).state  # sent again, for it is not stored


def test_a_diagnosis_waits_for_an_object_store_that_is_away(
    private_redis: Callable[..., RedisServer], s3_server: S3Server
) -> None:
    with RealWorker(private_redis().url, blob_url=f"{s3_server.url}/{uuid.uuid4().hex}") as worker:
        assert SUCCEEDED == worker.final(worker.submit("answer")).state
        s3_server.stop()
        try:
            diagnosis_id = worker.submit("answer", seed=1)
            worker.await_stage(diagnosis_id, diagnosis_pb2.DIAGNOSIS_STAGE_FETCH)
            time.sleep(2.0)
        finally:
            s3_server.start()
        assert SUCCEEDED == worker.final(diagnosis_id, 60.0).state, worker.log
        assert 0 == worker.store.counters.read().lost, worker.log  # read again, or given back
        assert "the store gives no bytes yet" in worker.log
