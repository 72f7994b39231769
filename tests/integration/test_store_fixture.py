"""The shared server of the tests is real and empty for each test."""

from __future__ import annotations

import redis


def test_server_is_empty_and_keeps_an_append_only_file(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url, decode_responses=True)
    assert client.dbsize() == 0
    assert client.config_get("appendonly") == {"appendonly": "yes"}
    client.close()
