"""The short form of `make soak`: after some jobs, nothing is held that one job did not need."""

from __future__ import annotations

from soak.bounds import breaches
from soak.soaking import soak

JOBS = 120
SAMPLE_EVERY = 25
LIMIT_SECONDS = 60.0  # on a loaded machine fewer jobs must do


def test_a_short_soak_leaves_nothing_behind() -> None:
    run = soak(JOBS, SAMPLE_EVERY, LIMIT_SECONDS)
    assert breaches(run) == []
    assert run.samples[-1].jobs >= SAMPLE_EVERY
