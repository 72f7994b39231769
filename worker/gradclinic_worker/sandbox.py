"""How an executor is confined before a stranger's model runs in it: named levels, weakest first."""

from __future__ import annotations

import enum
import os
import resource
import signal
from pathlib import Path

from gradclinic_worker import prctl

CPU_SLACK_SECONDS = 10
_MAX_OPEN_FILES = 256
_MAX_OPEN_FILES_CUDA = 1024  # the driver opens several per device
_OOM_SCORE_FIRST_TO_GO = 1000


class SandboxLevel(enum.StrEnum):
    """How strongly executors are confined. Later ones include the earlier ones."""

    NONE = "none"  # a process of its own, without credentials; nothing else
    PROCESS = "process"  # and: no privileges to gain, resource limits, empty environment, no inherited files

    @property
    def rank(self) -> int:
        """Position among the levels, 0 for the weakest."""
        return list(SandboxLevel).index(self)


def confine(level: SandboxLevel, *, memory_limit_bytes: int, cuda: bool) -> None:
    """Restrict this process for good, as far as its level says.

    Args:
        level: What to apply.
        memory_limit_bytes: Address space it may take beyond what it has now; 0 for no limit. Not applied with
            ``cuda``, whose driver reserves address space far beyond what it uses.
        cuda: Whether this process works on a CUDA device.

    Raises:
        OSError: The kernel refuses one of the restrictions.
    """
    if level is SandboxLevel.NONE:
        return
    prctl.gain_no_privileges()
    os.chdir("/")
    os.umask(0o077)
    os.environ.clear()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a refused write is an error, not a death
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES_CUDA if cuda else _MAX_OPEN_FILES)
    if memory_limit_bytes and not cuda:
        _limit(resource.RLIMIT_AS, _address_space_bytes() + memory_limit_bytes)
    Path("/proc/self/oom_score_adj").write_text(f"{_OOM_SCORE_FIRST_TO_GO}\n", encoding="utf-8")


def limit_cpu_time(level: SandboxLevel, seconds: float) -> None:
    """Let this process use at most so much more CPU time; the kernel then ends it with SIGXCPU.

    The supervisor's clock comes first; this one holds when the supervisor is stopped.
    """
    if level is SandboxLevel.NONE:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _limit(resource.RLIMIT_CPU, int(usage.ru_utime + usage.ru_stime + seconds) + CPU_SLACK_SECONDS)


def close_all_but(kept: set[int]) -> None:
    """Close every file descriptor of this process but those."""
    lowest = 0
    for descriptor in sorted(kept):
        if lowest < descriptor:  # an empty range would be taken for all there are
            os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    return pages * resource.getpagesize()
