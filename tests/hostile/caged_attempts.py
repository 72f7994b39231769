"""A program that tries, from inside the cage, what a hostile model with native code might; prints what came of it.

`python caged_attempts.py LEVEL NAME...` gives JSON: for each attempt the signal that ended it and what a supervisor
says of that, the error that it met, or what it got. An attempt `call:NAME` is a bare system call with zeros.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import os
import platform
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from gradclinic_worker.cage import own_user, prctl, sandbox, seccomp_calls
from gradclinic_worker.process import exits
from gradclinic_worker.process.lease import ExitNotice

if TYPE_CHECKING:
    from collections.abc import Callable

MEMORY_BYTES = 256 * 2**20
CPU_SECONDS = 1
LIBC = ctypes.CDLL(None, use_errno=True)
COLUMN = {"x86_64": 1, "aarch64": 2}[platform.machine()]
CALLS = {
    **seccomp_calls.ALLOWED,
    **seccomp_calls.CONDITIONAL,
    **seccomp_calls.CUDA_ONLY,
    **seccomp_calls.HOSTILE,
}


def raw(number: int, *arguments: object) -> str:
    """A bare system call; what came back."""
    result = LIBC.syscall(number, *(arguments or [ctypes.c_ulong(0)] * 6))
    if result == -1:
        raise OSError(ctypes.get_errno(), "refused")
    return "allowed"


def number_of(name: str) -> int:
    """A system call's number here."""
    return int(str(CALLS[name][COLUMN]))


def read_file() -> str:
    return Path("/etc/passwd").read_text(encoding="utf-8")[:4]


def read_environment_of_parent() -> str:
    return Path(f"/proc/{os.getppid()}/environ").read_text(encoding="utf-8")[:4]


def list_directory() -> str:
    return str(os.listdir("/"))  # noqa: PTH208 - as short as it gets


def write_file() -> str:
    Path("/tmp/gradclinic-must-not-appear").write_bytes(b"here")
    return "written"


def open_path_only() -> str:
    return str(os.open("/etc/passwd", os.O_PATH))


def write_shared_memory() -> str:
    return str(os.open("/dev/shm/gradclinic-must-not-appear", os.O_RDWR | os.O_CREAT))


def make_memory_file() -> str:
    return str(os.memfd_create("hidden"))


def change_mode() -> str:
    Path("/tmp").chmod(0o777)
    return "changed"


def remove_file() -> str:
    Path(VICTIM).unlink()
    return "removed"


def connect_out() -> str:
    socket.create_connection(("127.0.0.1", 9), timeout=1.0)
    return "connected"


def send_datagram() -> str:
    return str(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"secret", ("127.0.0.1", 9)))


def local_socket() -> str:
    return str(socket.socket(socket.AF_UNIX))


def netlink_socket() -> str:
    return str(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))


def fork() -> str:
    if os.fork() == 0:
        os._exit(0)
    return "forked"


def run_program() -> str:
    os.execv("/bin/true", ["true"])
    return "never"


def kill_parent() -> str:
    os.kill(os.getppid(), signal.SIGTERM)
    return "killed"


def kill_self() -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"


def abort() -> str:
    os.abort()


def end_like_a_cancelled_thread() -> str:
    return raw(number_of("tgkill"), os.getpid(), threading.get_native_id(), 32)


def break_a_pipe() -> str:
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    readable, writable = os.pipe()
    os.close(readable)
    return str(os.write(writable, b"nobody reads"))


def burn_cpu_time() -> str:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    while True:
        pass


def survive_parent() -> str:
    prctl._prctl(prctl._PR_SET_PDEATHSIG, 0)  # noqa: SLF001 - what an attacker would call
    return "survives"


def raise_a_limit() -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    return "raised"


def lower_a_limit() -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (0, 0))
    return "lowered"


def lower_a_limit_of_its_own_by_the_other_call() -> str:
    resource.prlimit(0, resource.RLIMIT_CPU, (0, 0))
    return "lowered"


def read_limits() -> str:
    return str(resource.prlimit(0, resource.RLIMIT_CORE) == resource.getrlimit(resource.RLIMIT_CORE) == (0, 0))


def read_what_a_neighbour_was_given() -> str:
    pid, descriptor = NEIGHBOUR
    return Path(f"/proc/{pid}/fd/{descriptor}").read_text(encoding="utf-8")


def read_memory_of_a_neighbour() -> str:
    with Path(f"/proc/{NEIGHBOUR[0]}/mem").open("rb") as memory:
        return str(memory.fileno())


def type_into_terminal() -> str:
    return raw(number_of("ioctl"), 0, 0x5412, b"x")


def ask_for_signals() -> str:
    return raw(number_of("fcntl"), 0, 8, os.getppid())


def other_architecture() -> str:
    return raw(0x40000000 + 39)  # getpid of the x32 kind


def new_namespace_thread() -> str:
    return raw(number_of("clone"), ctypes.c_ulong(0x10000000 | 17), 0, 0, 0, 0)


def start_threads() -> str:
    ran: list[int] = []
    threads = [threading.Thread(target=ran.append, args=(one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return f"{len(ran)} threads"


def thread_bomb() -> str:
    for _ in range(5000):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    return "5000 threads"


def take_memory() -> str:
    return str(len(bytearray(2 * MEMORY_BYTES)))


def use_some_memory() -> str:
    return str(len(bytearray(MEMORY_BYTES // 2)))


def open_many() -> str:
    for _ in range(2000):
        os.dup(1)
    return "2000"


def import_late() -> str:
    import colorsys  # noqa: PLC0415 - that is the attempt

    return colorsys.__name__


def user_and_rights() -> str:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    rights = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    signum = ctypes.c_int(0)
    LIBC.prctl(2, ctypes.byref(signum), 0, 0, 0)
    own = os.getresuid() == (own_user.FIRST_UID + os.getpid(),) * 3 and os.getgroups() == []
    return f"own={own} rights={int(rights, 16)} dies_with_parent={signum.value == signal.SIGKILL}"


VICTIM = ""
NEIGHBOUR = (0, 0)  # the process id of another executor, and the descriptor of what it was given to read
ATTEMPTS: dict[str, Callable[[], str]] = {
    one.__name__: one
    for one in (
        *(read_file, read_environment_of_parent, list_directory, write_file, open_path_only, write_shared_memory),
        *(make_memory_file, change_mode, remove_file, connect_out, send_datagram, local_socket, netlink_socket, fork),
        *(run_program, kill_parent, kill_self, abort, survive_parent, raise_a_limit, type_into_terminal),
        *(ask_for_signals, other_architecture, new_namespace_thread, start_threads, thread_bomb, take_memory),
        *(use_some_memory, open_many, import_late, user_and_rights, lower_a_limit, read_limits, burn_cpu_time),
        *(lower_a_limit_of_its_own_by_the_other_call, end_like_a_cancelled_thread, break_a_pipe),
        *(read_what_a_neighbour_was_given, read_memory_of_a_neighbour),
    )
}


def attempt(name: str, level: sandbox.SandboxLevel) -> str:
    """Fork, confine, try; what came of it."""
    readable, writable = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        confine(level, parent)
        try:
            came = raw(number_of(name[5:])) if name.startswith("call:") else ATTEMPTS[name]()
        except OSError as error:
            came = errno.errorcode.get(error.errno or 0, str(error))
        except (MemoryError, RuntimeError, ValueError) as error:
            came = type(error).__name__
        os.write(writable, came.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as said:
        came = said.read().decode()
    _, status, usage = os.wait4(child, 0)
    notice = ExitNotice(os.waitstatus_to_exitcode(status), 0, usage.ru_utime + usage.ru_stime)
    if notice.signal is None:
        return came
    judged = exits.explain(notice, "", cpu_limit_seconds=CPU_SECONDS, kernel_killed=False)
    reason = diagnosis_pb2.FailureReason.Name(judged.reason) if isinstance(judged, diagnosis_pb2.Failure) else "LOST"
    return f"{notice.signal_name} {reason.removeprefix('FAILURE_REASON_')}"


def confine(level: sandbox.SandboxLevel, parent: int) -> None:
    """As an executor is."""
    sandbox.Confining(level, sandbox.Limits(MEMORY_BYTES, CPU_SECONDS, cuda=False)).finish(parent)


def start_neighbour(level: sandbox.SandboxLevel) -> tuple[int, int]:
    """Another executor, which has been given something to read and has not ended; its process id and the descriptor."""
    readable, writable = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        given = os.memfd_create("model")
        os.write(given, b"secret")
        confine(level, parent)
        os.write(writable, str(given).encode())
        while True:
            time.sleep(1.0)
    return child, int(os.read(readable, 100))


def main() -> None:
    """Try what the command line names."""
    global NEIGHBOUR, VICTIM  # noqa: PLW0603 - read by attempts
    if os.environ.get("TAKE_OWN_USER"):  # also where that user could not read Python's modules
        own_user.can_take_own_user = functools.cache(lambda code: True)  # noqa: ARG005 - the name of the argument counts
    sandbox.prepare()
    sandbox._CPU_LAST_SECONDS = 1  # noqa: SLF001 - a test should not take five
    NEIGHBOUR = start_neighbour(sandbox.SandboxLevel(sys.argv[1]))
    with tempfile.NamedTemporaryFile() as victim:
        VICTIM = victim.name
        found = {name: attempt(name, sandbox.SandboxLevel(sys.argv[1])) for name in sys.argv[2:]}
        Path(VICTIM).stat()  # still there
    os.kill(NEIGHBOUR[0], signal.SIGKILL)
    os.waitpid(NEIGHBOUR[0], 0)
    print(json.dumps(found))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
