"""When a call is tried again: outages for a while, limits when they say when, nothing else."""

from __future__ import annotations

import time

import pytest

from gradclinic.errors import InvalidRequest, LimitExceeded, ServerError, ServiceUnavailable
from gradclinic.retry import Backoff, Deadline


def limit(retry_after_seconds: float | None) -> LimitExceeded:
    return LimitExceeded("full", code="RESOURCE_EXHAUSTED", retry_after_seconds=retry_after_seconds)


def test_a_limit_is_waited_for_as_long_as_it_says_and_a_little_more() -> None:
    backoff = Backoff(Deadline(30), 30)
    pauses = [backoff.pause_seconds(limit(2.0)) for _ in range(20)]
    assert all(2.0 <= pause <= 2.5 for pause in pauses)
    assert len(set(pauses)) > 10  # or all that were refused would come back at once


def test_a_limit_is_not_waited_for_beyond_the_deadline() -> None:
    error = limit(2.0)
    with pytest.raises(LimitExceeded) as caught:
        Backoff(Deadline(1.5), 30).pause_seconds(error)
    assert caught.value is error
    with pytest.raises(LimitExceeded):
        Backoff(Deadline(None), 1.5).pause_seconds(error)


def test_what_came_through_gives_new_patience() -> None:
    backoff = Backoff(Deadline(None), 0.5)
    backoff.pause_seconds(limit(0.3))
    time.sleep(0.3)
    with pytest.raises(LimitExceeded):
        backoff.pause_seconds(limit(0.3))
    backoff.restart()
    backoff.pause_seconds(limit(0.3))


@pytest.mark.parametrize("error", [limit(None), InvalidRequest("no", code="INVALID_ARGUMENT", retry_after_seconds=1.0)])
def test_what_no_time_mends_is_told_at_once(error: ServerError) -> None:
    with pytest.raises(type(error)):
        Backoff(Deadline(30), 30).pause_seconds(error)


def test_an_outage_has_a_patience_of_its_own() -> None:
    backoff = Backoff(Deadline(30), 0.01)
    assert backoff.pause_seconds(ServiceUnavailable("away", code="UNAVAILABLE")) <= 0.1
