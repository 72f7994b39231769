"""Sets the seed of a run, and says which of its operations were random."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from gradclinic_engine.measurements import Measurements, Site

# Arguments of torch's operators that turn randomness off, and at which value.
_OFF = (("p", 0), ("dropout", 0), ("dropout_p", 0), ("train", False), ("training", False))


def seed(number: int) -> None:
    """Seeds the generators of the devices in use.

    `torch.manual_seed` would also note the seed, with the stack of its caller as text, for each kind of device that
    this process has not begun to use and never will: a tenth of the analysis of a small model.
    """
    if torch.cuda.is_initialized():
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


def note(measurements: Measurements, seed: int) -> tuple[str, ...]:
    """One sentence where anything random ran."""
    found = random_operations(measurements)
    if not found:
        return ()
    return (f"Random operations ran ({', '.join(found)}), with the fixed seed {seed}: the result is always the same.",)


def random_operations(measurements: Measurements) -> list[str]:
    """The kinds of random operations that ran, each once."""
    return list(dict.fromkeys(site.op for site in measurements.sites if site.calls and _is_random(site)))


def _is_random(site: Site) -> bool:
    return _draws(site.op) and not any(site.constants.get(name, "") == value for name, value in _OFF)


@lru_cache(maxsize=4096)
def _draws(op: str) -> bool:
    """Whether torch marks an operator as one that draws random numbers."""
    namespace, _, name = op.partition("::")
    packet = getattr(getattr(torch.ops, namespace), name, None) if namespace == "aten" else None
    if packet is None:
        return False
    return any(torch.Tag.nondeterministic_seeded in getattr(packet, each).tags for each in packet.overloads())
