"""A backup of a Redis at work, as docs/operations/backup.md says it is made, and what is there after a restore."""

from __future__ import annotations

import shutil
import threading
import time
from typing import TYPE_CHECKING, Any

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store import Store, StoreSettings
from operations_pages import Operator, commands, give_accounts
from store_cases import MODEL, QUEUE, result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer

FILES = "appendonlydir"


def back_up(server: RedisServer, folder: str) -> None:
    """Run the commands of the page, as the operator."""
    give_accounts(server)
    operator = Operator(server, BACKUP=folder)
    for line in commands("backup.md", "The file"):
        told = operator.run(line)
        while "INFO" in line and (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"]):
            time.sleep(0.02)
            told = operator.run(line)
    operator.close()


def test_a_restored_backup_has_everything_and_goes_on(private_redis: Callable[..., RedisServer], tmp_path: Any) -> None:
    first, second = private_redis(), private_redis()
    with Store.connect(StoreSettings(redis_url=first.url)) as store:
        spec = spec_of(store)
        done, _ = store.diagnoses.create(spec, "request")
        started(store, done.id).succeed(result_of())
        running, _ = store.diagnoses.create(spec)
        store.diagnoses.start(running.id, "a worker that will be gone")
        waiting, _ = store.diagnoses.create(spec)
        totals = store.counters.read()
        ids = (done.id, running.id, waiting.id)
        before = [store.diagnoses.get(diagnosis_id) for diagnosis_id in ids]
        stop = threading.Event()

        def write_on() -> None:
            while not stop.is_set():
                store.diagnoses.create(spec)

        writing = threading.Thread(target=write_on)
        writing.start()
        back_up(first, f"{tmp_path}/backup")
        stop.set()
        writing.join()
    first.stop()
    second.stop()
    shutil.rmtree(second.directory / FILES)
    shutil.copytree(f"{tmp_path}/backup", second.directory / FILES)
    second.start()
    give_accounts(second)
    operator = Operator(second)
    now_waiting, now_running, counters = (operator.run(line) for line in commands("backup.md", "Restore"))
    assert now_waiting >= 1
    assert 1 == now_running
    assert int(counters["submitted"]) >= totals.submitted
    operator.close()
    with Store.connect(StoreSettings(redis_url=second.url)) as restored:
        assert [restored.diagnoses.get(diagnosis_id) for diagnosis_id in ids] == before
        assert b"".join(restored.artifacts.read(spec.model_sha256)) == MODEL
        assert restored.diagnoses.create(spec, "request")[0].id == done.id
        after = restored.counters.read()
        assert after.submitted >= totals.submitted
        assert after.submitted == sum(after.completed.values()) + after.in_flight
        restored.connection.client.zadd("gradclinic:leases", {running.id: 1})  # its lease ran out meanwhile
        assert running.id in restored.diagnoses.reap()
        assert started(restored, waiting.id).succeed(result_of())
        assert restored.diagnoses.get(waiting.id).state == diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED
        assert restored.queue.depth(QUEUE) >= 1
