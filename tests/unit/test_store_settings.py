"""Settings refuse what cannot work, by name."""

from __future__ import annotations

from typing import Any

import pytest

from gradclinic_store import StoreSettings


def test_the_defaults_are_fine() -> None:
    settings = StoreSettings(redis_url="redis://localhost")
    assert settings.max_artifact_bytes == 2 * 1024**3
    assert settings.blob_url == ""


@pytest.mark.parametrize("url", ["", "localhost:6379", "http://localhost"])
def test_a_wrong_url_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="redis_url"):
        StoreSettings(redis_url=url)


@pytest.mark.parametrize(
    "name", ["max_queued", "max_attempts", "lease_seconds", "queue_ttl_seconds", "artifact_retention_seconds"]
)
def test_what_must_be_positive_is(name: str) -> None:
    wrong: dict[str, Any] = {name: 0}
    with pytest.raises(ValueError, match=f"{name}: 0.* is not in the range"):
        StoreSettings(redis_url="redis://localhost", **wrong)


def test_the_largest_artifact_must_fit() -> None:
    with pytest.raises(ValueError, match="max_stored_bytes"):
        StoreSettings(redis_url="redis://localhost", max_stored_bytes=1)
