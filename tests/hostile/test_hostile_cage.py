"""The cage itself: what native code inside it can still do, system call by system call."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gradclinic_worker.cage import landlock, seccomp, seccomp_calls

pytestmark = pytest.mark.skipif(
    not landlock.version() or not seccomp.supported(), reason="this kernel offers no Landlock, or has no table here"
)

FORBIDDEN = "SIGSYS FORBIDDEN_OPERATOR"
EXPECTED = {
    # Files
    "read_file": "EACCES",
    "read_environment_of_parent": "EACCES",
    "list_directory": "EACCES",
    "write_file": "EACCES",
    "open_path_only": "EACCES",
    "write_shared_memory": "EACCES",
    "make_memory_file": "ENOSYS",
    "change_mode": "ENOSYS",
    "remove_file": "ENOSYS",
    "import_late": "colorsys",
    # Network
    "connect_out": FORBIDDEN,
    "send_datagram": FORBIDDEN,
    "netlink_socket": FORBIDDEN,
    "local_socket": "EACCES",
    # Other processes, and itself
    "fork": FORBIDDEN,
    "run_program": FORBIDDEN,
    "new_namespace_thread": FORBIDDEN,
    "kill_parent": FORBIDDEN,
    "kill_self": FORBIDDEN,
    "abort": "SIGABRT EXECUTOR_CRASHED",
    "end_like_a_cancelled_thread": "SIG32 EXECUTOR_CRASHED",
    "break_a_pipe": "SIGPIPE EXECUTOR_CRASHED",
    "survive_parent": "EPERM",
    "raise_a_limit": "ValueError",
    "lower_a_limit": "ValueError",
    "lower_a_limit_of_its_own_by_the_other_call": "EPERM",
    "read_limits": "True",
    "read_what_a_neighbour_was_given": "EACCES",
    "read_memory_of_a_neighbour": "EACCES",
    "type_into_terminal": "ENOTTY",
    "ask_for_signals": "EPERM",
    "start_threads": "4 threads",
    # Resources
    "use_some_memory": str(128 * 2**20),
    "take_memory": "MemoryError",
    "thread_bomb": "RuntimeError",
    "open_many": "EMFILE",
    "burn_cpu_time": "SIGKILL TIMED_OUT",
}


def attempts(level: str, *names: str, **environment: str) -> dict[str, str]:
    program = Path(__file__).with_name("caged_attempts.py")
    ended = subprocess.run(
        [sys.executable, str(program), level, *names],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    found: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return found


def test_the_cage_holds() -> None:
    assert EXPECTED == attempts("cage", *EXPECTED)


def test_every_hostile_call_ends_the_process() -> None:
    column = {"x86_64": 1, "aarch64": 2}[platform.machine()]
    names = [f"call:{call.name}" for call in seccomp_calls.HOSTILE.values() if call[column] is not None]
    assert dict.fromkeys(names, FORBIDDEN) == attempts("cage", *names)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is of x86-64")
def test_calls_of_another_table_end_the_process() -> None:
    assert {"other_architecture": FORBIDDEN} == attempts("cage", "other_architecture")


def test_without_landlock_seccomp_still_keeps_the_network_out() -> None:
    expected = {"connect_out": FORBIDDEN, "fork": FORBIDDEN, "write_file": "EACCES", "read_file": "root"}
    assert expected == attempts("seccomp", *expected)


@pytest.mark.parametrize("level", ["process", "seccomp", "cage"])
def test_no_level_lets_an_executor_into_another_one(level: str) -> None:
    names = ("read_what_a_neighbour_was_given", "read_memory_of_a_neighbour")
    assert dict.fromkeys(names, "EACCES") == attempts(level, *names)


def test_the_weaker_level_is_weaker() -> None:
    assert {"fork": "forked", "read_file": "root"} == attempts("process", "fork", "read_file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_a_user_of_its_own_without_rights() -> None:
    expected = {"user_and_rights": "own=True rights=0 dies_with_parent=True"}
    assert expected == attempts("process", "user_and_rights", TAKE_OWN_USER="1")
    assert {"fork": FORBIDDEN, "thread_bomb": "RuntimeError"} == attempts(
        "cage", "fork", "thread_bomb", TAKE_OWN_USER="1"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to lose")
def test_root_that_stays_root_has_no_rights() -> None:
    said = attempts("process", "user_and_rights")["user_and_rights"]
    assert "rights=0 " in said
