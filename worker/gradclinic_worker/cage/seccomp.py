"""Seccomp: a small program, in the kernel, that decides about every system call of this process from now on."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradclinic_worker.cage import seccomp_calls

if TYPE_CHECKING:
    from gradclinic_worker.cage.seccomp_calls import Call

# Numbers from <linux/seccomp.h>, <linux/audit.h>, <linux/filter.h>, <linux/bpf_common.h>.
_SET_MODE_FILTER = 1
_SYNC_ALL_THREADS = 1
ALLOW = 0x7FFF0000
KILL = 0x80000000  # the whole process, with SIGSYS
_ERRNO = 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x45, 0x54, 0x06
_OFFSET_NUMBER, _OFFSET_ARCHITECTURE, _OFFSET_ARGUMENTS = 0, 4, 16
_X32_BIT = 0x40000000

_ALL_BITS = 0xFFFFFFFF
_THREAD_ONLY = 0x00010000  # CLONE_THREAD
# CLONE_NEW*: namespaces.
_NAMESPACES = 0x7E020080
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_PATH
_MAKING = os.O_CREAT | os.O_TRUNC | os.O_PATH
# TCGETS, TIOCGWINSZ, FIOCLEX, FIONBIO, FIONREAD: what opening, reading and asking for a terminal need.
_HARMLESS_IOCTLS = (0x5401, 0x5413, 0x5451, 0x5421, 0x541B)
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_GET_SEALS; none that has signals sent.
_HARMLESS_FCNTLS = (0, 1, 2, 3, 4, 1030, 1034)
# PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names of memory areas).
_HARMLESS_PRCTLS = (15, 16, 0x53564D41)
# None, SIGABRT, and the one by which threads are cancelled. A SIGKILL by its own hand would look like an accident
# that is worth another try.
_HARMLESS_SIGNALS = (0, signal.SIGABRT, 32)
_AF_UNIX = 1

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class _Machine:
    audit: int  # AUDIT_ARCH_*
    column: int  # of seccomp_calls.Call
    seccomp: int  # number of the call that installs a filter


_MACHINES = {"x86_64": _Machine(0xC000003E, 1, 317), "aarch64": _Machine(0xC00000B7, 2, 277)}


@dataclass(frozen=True, slots=True)
class Test:
    """A look at the lower half of one argument: the bits of the mask must equal a value.

    Attributes:
        index: Which argument, 0..5.
        mask: The bits looked at.
        value: What they must be.
        upper: Whether the upper half of the argument must be zero, too.
    """

    index: int
    mask: int
    value: int
    upper: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of one system call: the first case whose tests all hold decides, else the last word."""

    call: Call
    cases: tuple[tuple[tuple[Test, ...], int], ...]
    otherwise: int


def supported() -> bool:
    """Whether there is a table for this machine's architecture."""
    return platform.machine() in _MACHINES


def refuse(number: int) -> int:
    """The action that lets a call fail with an error number."""
    return _ERRNO | number


def rules(*, own_pid: int, cuda: bool) -> list[Rule]:
    """The policy of the cage.

    Args:
        own_pid: The only process that signals may be sent to.
        cuda: Whether the CUDA driver has to work inside. Devices are then opened for writing, and their controls
            are free; which devices is for Landlock to say.
    """
    found = [Rule(call, (), ALLOW) for call in seccomp_calls.ALLOWED.values()]
    if cuda:
        found += [Rule(call, (), ALLOW) for call in seccomp_calls.CUDA_ONLY.values()]
    found += _conditional(own_pid, cuda=cuda)
    found += [Rule(call, (), KILL) for call in seccomp_calls.HOSTILE.values()]
    return found


def _conditional(own_pid: int, *, cuda: bool) -> list[Rule]:
    calls = seccomp_calls.CONDITIONAL
    unwanted = _MAKING if cuda else _WRITING
    denied, to_self, me = refuse(errno.EACCES), Test(0, _ALL_BITS, own_pid), Test(0, _ALL_BITS, 0)
    no_new_limit = Test(2, _ALL_BITS, 0, upper=True)
    found = [
        Rule(calls["openat"], (((Test(2, unwanted, 0),), ALLOW),), denied),
        Rule(calls["open"], (((Test(1, unwanted, 0),), ALLOW),), denied),
        Rule(calls["clone"], (((Test(0, _THREAD_ONLY | _NAMESPACES, _THREAD_ONLY),), ALLOW),), KILL),
        Rule(calls["fcntl"], _one_of(1, _HARMLESS_FCNTLS), refuse(errno.EPERM)),
        Rule(calls["prctl"], _one_of(0, _HARMLESS_PRCTLS), refuse(errno.EPERM)),
        # To read its limits. One that lowers them would be ended by the kernel's SIGKILL, as if by accident.
        Rule(calls["prlimit64"], tuple(((who, no_new_limit), ALLOW) for who in (me, to_self)), refuse(errno.EPERM)),
        Rule(calls["setrlimit"], (), refuse(errno.EPERM)),
        Rule(calls["sendto"], (((Test(4, _ALL_BITS, 0, upper=True),), ALLOW),), KILL),
        Rule(calls["kill"], tuple(((to_self, Test(1, _ALL_BITS, one)), ALLOW) for one in _HARMLESS_SIGNALS), KILL),
        Rule(calls["tgkill"], tuple(((to_self, Test(2, _ALL_BITS, one)), ALLOW) for one in _HARMLESS_SIGNALS), KILL),
        # Name services ask for a local socket in passing; one that cannot be had is no news to them.
        Rule(calls["socket"], (((Test(0, _ALL_BITS, _AF_UNIX),), denied),), KILL),
    ]
    if not cuda:
        found.append(Rule(calls["ioctl"], _one_of(1, _HARMLESS_IOCTLS), refuse(errno.ENOTTY)))
    return found


def _one_of(index: int, values: tuple[int, ...]) -> tuple[tuple[tuple[Test, ...], int], ...]:
    return tuple(((Test(index, _ALL_BITS, value),), ALLOW) for value in values)


def assemble(policy: list[Rule], machine: str) -> bytes:
    """The policy as a program of the kernel's packet filter, for a machine named as `platform.machine()` does.

    A call of another architecture's table ends the process; one that no rule names fails with ENOSYS.
    """
    here = _MACHINES[machine]
    program = [
        _instruction(_LOAD, _OFFSET_ARCHITECTURE),
        _instruction(_JUMP_EQUAL, here.audit, if_so=1),
        _instruction(_RETURN, KILL),
        _instruction(_LOAD, _OFFSET_NUMBER),
    ]
    if machine == "x86_64":
        program += [_instruction(_JUMP_ANY_BIT, _X32_BIT, if_not=1), _instruction(_RETURN, KILL)]
    for rule in policy:
        number = rule.call[here.column]
        if isinstance(number, int):
            body = _body(rule)
            program += [_instruction(_JUMP_EQUAL, number, if_not=len(body)), *body]
    return b"".join([*program, _instruction(_RETURN, refuse(errno.ENOSYS))])


def _body(rule: Rule) -> list[bytes]:
    found: list[bytes] = []
    for tests, action in rule.cases:
        case = [_instruction(_RETURN, action)]
        for test in reversed(tests):
            case = [*_looks(test, skip=len(case)), *case]
        found += case
    return [*found, _instruction(_RETURN, rule.otherwise)]


def _looks(test: Test, skip: int) -> list[bytes]:
    """A test; where it fails, it skips what follows it."""
    lower = _OFFSET_ARGUMENTS + 8 * test.index  # both machines are little-endian
    looks = [
        _instruction(_LOAD, lower),
        _instruction(_AND, test.mask),
        _instruction(_JUMP_EQUAL, test.value, if_not=skip),
    ]
    if test.upper:
        upper = [_instruction(_LOAD, lower + 4), _instruction(_JUMP_EQUAL, 0, if_not=skip + len(looks))]
        looks = [*upper, *looks]
    return looks


def _instruction(code: int, value: int, if_so: int = 0, if_not: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_so, if_not, value)


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def install(program: bytes) -> None:
    """Put all threads of this process under a program, for good. Needs `prctl.gain_no_privileges` first.

    Raises:
        OSError: The kernel refuses.
    """
    record = _Program(len(program) // 8, program)
    number = _MACHINES[platform.machine()].seccomp
    result = _libc.syscall(number, _SET_MODE_FILTER, ctypes.c_ulong(_SYNC_ALL_THREADS), ctypes.byref(record))
    if result != 0:
        error = ctypes.get_errno()
        detail = os.strerror(error) if result < 0 else f"thread {result} has other filters"
        raise OSError(error if result < 0 else errno.EBUSY, f"seccomp: {detail}")
