"""Python's garbage collector in processes that are forked for one job."""

from __future__ import annotations

import gc

COLLECT_AFTER_OBJECTS = 50_000
"""By default 700: a model of 2,000 operations makes so many records, all of which are needed, that a twentieth of its
analysis went into looking for garbage among them."""


def settle() -> None:
    """What is here stays, shared with the forks; and what a fork makes is looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
