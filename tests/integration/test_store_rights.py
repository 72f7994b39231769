"""The store needs no more rights in Redis than the deployment gives its roles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from gradclinic_store import Store, StoreSettings
from store_cases import QUEUE, result_of, spec_of, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from real_redis import RedisServer

START = Path(__file__).parents[2] / "deploy" / "redis" / "start.sh"


def test_the_roles_rights_suffice(private_redis: Callable[[], RedisServer]) -> None:
    server = private_redis()
    (rights,) = re.findall(r"^rights='(.*)'$", START.read_text(encoding="utf-8"), re.MULTILINE)
    client = redis.Redis.from_url(server.url)
    client.execute_command("ACL", "SETUSER", "service", "on", ">password", *rights.split())  # type: ignore[no-untyped-call]  # redis-py's
    client.close()
    with Store.connect(StoreSettings(redis_url=f"redis://service:password@127.0.0.1:{server.port}/0")) as store:
        done, _ = store.diagnoses.create(spec_of(store, run="r"), "request")
        started(store, done.id).succeed(result_of())
        running, _ = store.diagnoses.create(spec_of(store))
        assert started(store, running.id).give_back()
        store.diagnoses.cancel(running.id)
        assert store.reap() == []
        assert len(store.diagnoses.page()[0]) == 2
        store.diagnoses.delete(done.id)
        assert store.queue.depth(QUEUE) == 0
        assert store.counters.read().submitted == 2
        assert store.fleet.live() == []
