"""Notices that this process is a fork of one that used gRPC."""

from __future__ import annotations

import os

from gradclinic.errors import ClientForked

_generation = 0  # forks between the process that imported this module and this one


def _count_fork() -> None:
    global _generation  # noqa: PLW0603 - one fact about the process
    _generation += 1


os.register_at_fork(after_in_child=_count_fork)


class ForkGuard:
    """Remembers in which process something was made."""

    def __init__(self) -> None:
        self._made_in = _generation

    @property
    def crossed(self) -> bool:
        """Whether this process is a fork of the one where the guard was made."""
        return self._made_in != _generation

    def check(self) -> None:
        """Raises ClientForked where the guard was carried over a fork."""
        if self.crossed:
            raise ClientForked
