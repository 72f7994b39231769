"""When a call is tried again: outages for a while, limits when they say when, nothing else."""

from __future__ import annotations

import time

import pytest

from gradclinic.errors import BY_CODE, LimitExceeded, ServerError, ServiceUnavailable
from gradclinic.retry import FIRST_CONTACT_SECONDS, WATCH_OUTAGE_SECONDS, RetryPolicy


def limit(retry_after_seconds: float | None) -> LimitExceeded:
    return LimitExceeded(
        "full", code="RESOURCE_EXHAUSTED", reason="QUEUE_FULL", retry_after_seconds=retry_after_seconds
    )


def error(code: str, reason: str = "", retry_after_seconds: float | None = None) -> ServerError:
    return BY_CODE[code]("no", code=code, reason=reason, retry_after_seconds=retry_after_seconds)


def test_a_limit_is_waited_for_as_long_as_it_says_and_a_little_more() -> None:
    pauses = [RetryPolicy(30).call().pause_seconds(limit(2.0)) for _ in range(20)]
    assert all(2.0 <= pause <= 2.5 for pause in pauses)
    assert len(set(pauses)) > 10  # or all that were refused would come back at once


def test_a_limit_is_not_waited_for_beyond_the_deadline() -> None:
    refused = limit(2.0)
    with pytest.raises(LimitExceeded) as caught:
        RetryPolicy(1.5).call().pause_seconds(refused)
    assert caught.value is refused
    with pytest.raises(LimitExceeded):
        RetryPolicy(1.5).upload().pause_seconds(limit(2.0))


def test_what_came_through_gives_new_patience() -> None:
    attempts = RetryPolicy(0.5).upload()
    attempts.pause_seconds(limit(0.3))
    time.sleep(0.3)
    with pytest.raises(LimitExceeded):
        attempts.pause_seconds(limit(0.3))
    attempts.came_through()
    attempts.pause_seconds(limit(0.3))


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "ABORTED"])
def test_what_a_closing_server_answers_is_tried_again(code: str) -> None:
    attempts = RetryPolicy(30).call()
    assert attempts.pause_seconds(error(code)) <= 0.1
    assert attempts.failed


@pytest.mark.parametrize("code", sorted(set(BY_CODE) - {"UNAVAILABLE", "CANCELLED", "ABORTED"}))
def test_what_no_time_mends_is_raised_at_once(code: str) -> None:
    retry_after_seconds = None if code == "RESOURCE_EXHAUSTED" else 1.0
    with pytest.raises(BY_CODE[code]):
        RetryPolicy(30).call().pause_seconds(error(code, retry_after_seconds=retry_after_seconds))


def test_a_call_that_was_cancelled_because_the_client_was_closed_is_not_tried_again() -> None:
    policy = RetryPolicy(30)
    attempts = policy.call()
    policy.closed = True
    with pytest.raises(BY_CODE["CANCELLED"]):
        attempts.pause_seconds(error("CANCELLED"))


def longest_outage_seconds(attempts_of: RetryPolicy, kind: str, monkeypatch: pytest.MonkeyPatch) -> float:
    """How long attempts go on while nothing answers, on a clock that only pauses move."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    attempts = attempts_of.watch(None) if kind == "watch" else getattr(attempts_of, kind)()
    while True:
        try:
            now += attempts.pause_seconds(error("UNAVAILABLE"))
        except ServiceUnavailable:
            return now - 1000.0


@pytest.mark.parametrize(
    ("kind", "answered", "patience_seconds"),
    [
        ("call", True, 30.0),
        ("upload", True, 30.0),
        ("watch", True, WATCH_OUTAGE_SECONDS),
        ("call", False, FIRST_CONTACT_SECONDS),
        ("watch", False, FIRST_CONTACT_SECONDS),
    ],
)
def test_an_outage_is_survived_for_so_long(
    kind: str,
    answered: bool,  # noqa: FBT001 - a parameter of the test
    patience_seconds: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    policy = RetryPolicy(30)
    policy.answered = answered
    lasted = longest_outage_seconds(policy, kind, monkeypatch)
    assert patience_seconds - 2.0 <= lasted <= patience_seconds


def test_an_error_with_a_reason_is_an_answer() -> None:
    policy = RetryPolicy(30)
    policy.call().pause_seconds(error("UNAVAILABLE", reason="SERVER_DRAINING"))
    assert policy.answered
