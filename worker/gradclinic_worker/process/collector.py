"""Python's garbage collector in processes that are forked for one job."""

from __future__ import annotations

import gc

COLLECT_AFTER_OBJECTS = 50_000
"""By default 700. An executor makes records of thousands of operations and needs them to its end: there is hardly any
garbage among them to be found."""


def settle() -> None:
    """What is here stays, shared with the forks; and what a fork makes is looked through less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)
