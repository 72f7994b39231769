"""How an executor is confined before a stranger's model runs in it: named levels, weakest first."""

from __future__ import annotations

import enum
import functools
import math
import os
import resource
import signal
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import gradclinic
from gradclinic_worker.cage import landlock, own_user, prctl, seccomp

_CPU_LAST_SECONDS = 5
"""Between SIGXCPU, which says why, and SIGKILL."""

_MAX_OPEN_FILES = 256
_MAX_OPEN_FILES_CUDA = 1024  # the driver opens several per device
_MAX_THREADS = 256
_MAX_THREADS_CUDA = 1024
_OOM_SCORE_FIRST_TO_GO = 1000

_READ = landlock.READ_FILE | landlock.READ_DIR
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/cuda", "/etc/ld.so.cache")
_ABOUT_CUDA_DEVICES = (
    *("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/proc/cpuinfo", "/proc/meminfo", "/proc/self"),
    *("/sys/devices", "/sys/bus/pci", "/sys/module/nvidia", "/sys/module/nvidia_uvm"),
)


class SandboxLevel(enum.StrEnum):
    """How strongly executors are confined. Later ones include the earlier ones."""

    NONE = "none"  # a process of its own, without credentials; nothing else
    PROCESS = "process"  # and: no privileges to gain, resource limits, empty environment, no inherited files
    SECCOMP = "seccomp"  # and: no network, no other process, no program, no writing, by refusing system calls
    CAGE = "cage"  # and: no file to be opened but the code of torch, by Landlock

    @property
    def rank(self) -> int:
        """Position among the levels, 0 for the weakest."""
        return list(SandboxLevel).index(self)


@dataclass(frozen=True, slots=True)
class Confinement:
    """What the kernel has really granted.

    Attributes:
        level: The strongest level of which nothing is missing.
        layers: What is in force, for people: `landlock 7`...
        missing: What was asked for and refused, with the reason.
    """

    level: SandboxLevel
    layers: tuple[str, ...]
    missing: tuple[str, ...]

    def __str__(self) -> str:
        missing = f"; MISSING: {'; '.join(self.missing)}" if self.missing else ""
        return f"{self.level} ({', '.join(self.layers) or 'nothing'}{missing})"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a confined process may use.

    Attributes:
        memory_bytes: Memory beyond what it has when it is confined; 0 for no limit.
        cpu_seconds: CPU time of all its threads; the kernel then ends it. 0 for no limit. The supervisor's clock comes
            first; this one holds when the supervisor is stopped.
        cuda: Whether it works on a CUDA device. Its driver reserves far more address space than it uses, so that
            what is counted there is writable memory.
    """

    memory_bytes: int
    cpu_seconds: float
    cuda: bool


class TooWeak(Exception):
    """The kernel grants less than the operator demands."""


def require(level: SandboxLevel, granted: Confinement) -> None:
    """Check that nothing is weaker than the operator demands.

    Raises:
        TooWeak: It is.
    """
    if granted.level.rank < level.rank:
        raise TooWeak(
            f"executors would be confined at level {granted.level}, and --require-sandbox asks for {level}. "
            f"Missing: {'; '.join(granted.missing)}. To run models with less, and only if you know who sends them, "
            f"start the worker with --require-sandbox {granted.level}."
        )


class Confining:
    """Takes this process's rights in two steps, with the start of the device between them."""

    def __init__(self, wanted: SandboxLevel, limits: Limits) -> None:
        """First step, in the only thread: what later threads inherit, and what needs files that are about to go.

        Raises:
            OSError: The kernel refuses what every level above `none` needs.
        """
        self._wanted = wanted
        self._limits = limits
        self._layers: list[str] = []
        self._missing: list[str] = []
        self._statm = -1
        if wanted is SandboxLevel.NONE:
            return
        prctl.gain_no_privileges()
        os.chdir("/")
        os.umask(0o077)
        os.environ.clear()
        sys.dont_write_bytecode = True
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a refused write is an error, not a death
        prctl.show_memory()
        Path("/proc/self/oom_score_adj").write_text(f"{_OOM_SCORE_FIRST_TO_GO}\n", encoding="utf-8")
        prctl.hide_memory()  # what it is given to read must not be found by other executors, through /proc
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._own_user = own_user.can_take_own_user(_code_directories())
        if os.geteuid() == 0 and not self._own_user:
            own_user.drop_capabilities()
            self._layers.append("no capabilities")
        if wanted is SandboxLevel.CAGE:
            self._give_up_files()

    def finish(self, parent_pid: int) -> Confinement:
        """Second step, when the device is ready: limits, user, system calls. Nothing can be taken back after it.

        Raises:
            OSError: The kernel refuses what every level above `none` needs.
        """
        if self._wanted is SandboxLevel.NONE:
            return Confinement(SandboxLevel.NONE, (), ())
        self._limit_resources()
        if self._own_user:
            _limit(resource.RLIMIT_NPROC, _MAX_THREADS_CUDA if self._limits.cuda else _MAX_THREADS)
            own_user.take_own_user()
            self._layers.append("own user")
            prctl.die_with_parent(parent_pid)  # forgotten with the user
        landlocked = any(layer.startswith("landlock") for layer in self._layers)
        level = SandboxLevel.PROCESS
        if self._wanted.rank >= SandboxLevel.SECCOMP.rank and self._refuse_system_calls():
            level = SandboxLevel.CAGE if landlocked else SandboxLevel.SECCOMP
        return Confinement(level, tuple(self._layers), tuple(self._missing))

    def _give_up_files(self) -> None:
        if not landlock.version():
            self._missing.append(
                "landlock: this kernel or container does not offer it (Linux 5.13 or later does, "
                "where /sys/kernel/security/lsm names it)"
            )
            return
        try:
            landlock.restrict(_readable(cuda=self._limits.cuda))
        except OSError as error:
            self._missing.append(f"landlock: {error}")
            return
        self._layers.append(f"landlock {landlock.version()}")

    def _limit_resources(self) -> None:
        cuda = self._limits.cuda
        _limit(resource.RLIMIT_CORE, 0)
        _limit(resource.RLIMIT_FSIZE, 0)
        _limit(resource.RLIMIT_NOFILE, _MAX_OPEN_FILES_CUDA if cuda else _MAX_OPEN_FILES)
        if self._limits.cpu_seconds:
            last = math.ceil(self._limits.cpu_seconds)
            _limit(resource.RLIMIT_CPU, last, last + _CPU_LAST_SECONDS)
        pages = [int(field) for field in os.read(self._statm, 200).split()]
        os.close(self._statm)
        if not self._limits.memory_bytes:
            return
        kind, used = (resource.RLIMIT_DATA, pages[5]) if cuda else (resource.RLIMIT_AS, pages[0])
        _limit(kind, used * resource.getpagesize() + self._limits.memory_bytes)
        self._layers.append(f"memory {'data' if cuda else 'address space'}")

    def _refuse_system_calls(self) -> bool:
        if not seccomp.supported():
            self._missing.append("seccomp: gradclinic has no table of system calls for this kind of processor")
            return False
        policy = seccomp.rules(own_pid=os.getpid(), cuda=self._limits.cuda)
        try:
            seccomp.install(seccomp.assemble(policy, os.uname().machine))
        except OSError as error:
            self._missing.append(str(error))
            return False
        self._layers.append("seccomp")
        return True


def prepare() -> None:
    """Do before the fork what the first step would do in every executor."""
    own_user.can_take_own_user(_code_directories())


def close_all_but(kept: set[int]) -> None:
    """Close every file descriptor of this process but those."""
    lowest = 0
    for descriptor in sorted(kept):
        if lowest < descriptor:  # an empty range would be taken for all there are
            os.closerange(lowest, descriptor)
        lowest = descriptor + 1
    os.closerange(lowest, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


@functools.cache  # filled in the zygote, for all executors
def _code_directories() -> tuple[Path, ...]:
    """Where the modules lie that a process may import late: its own, installed ones and Python's."""
    own = [Path(__file__).parent, *(Path(path) for path in gradclinic.__path__)]
    installed = [Path(sysconfig.get_path(kind)) for kind in ("platlib", "purelib", "stdlib", "platstdlib")]
    return tuple(dict.fromkeys([*own, *installed]))


def _readable(*, cuda: bool) -> list[tuple[str, int]]:
    """What a caged process may still open: code, and for CUDA its driver and what that reads about its devices."""
    rules = [(str(place), _READ) for place in _code_directories()]
    if cuda:
        devices = sorted(str(device) for device in Path("/dev").glob("nvidia*"))
        rules += [(path, _READ) for path in (*_LIBRARIES, *_ABOUT_CUDA_DEVICES)]
        rules += [(path, _READ | landlock.WRITE_FILE | landlock.IOCTL_DEV) for path in devices]
    return rules


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    _, highest = resource.getrlimit(kind)
    hard = soft if hard is None else hard
    if highest != resource.RLIM_INFINITY:
        soft, hard = min(soft, highest), min(hard, highest)
    resource.setrlimit(kind, (soft, hard))
