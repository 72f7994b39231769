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
    "connect_out": "SIGSYS",
    "send_datagram": "SIGSYS",
    "netlink_socket": "SIGSYS",
    "local_socket": "EACCES",
    # Other processes, and itself
    "fork": "SIGSYS",
    "run_program": "SIGSYS",
    "new_namespace_thread": "SIGSYS",
    "kill_parent": "SIGSYS",
    "kill_self": "SIGSYS",
    "abort": "SIGABRT",
    "survive_parent": "EPERM",
    "raise_a_limit": "ValueError",
    "type_into_terminal": "ENOTTY",
    "ask_for_signals": "EPERM",
    "start_threads": "4 threads",
    # Resources
    "use_some_memory": str(128 * 2**20),
    "take_memory": "MemoryError",
    "thread_bomb": "RuntimeError",
    "open_many": "EMFILE",
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
    assert dict.fromkeys(names, "SIGSYS") == attempts("cage", *names)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x32 is of x86-64")
def test_calls_of_another_table_end_the_process() -> None:
    assert {"other_architecture": "SIGSYS"} == attempts("cage", "other_architecture")


def test_without_landlock_seccomp_still_keeps_the_network_out() -> None:
    expected = {"connect_out": "SIGSYS", "fork": "SIGSYS", "write_file": "EACCES", "read_file": "root"}
    assert expected == attempts("seccomp", *expected)


def test_the_weaker_level_is_weaker() -> None:
    assert {"fork": "forked", "read_file": "root"} == attempts("process", "fork", "read_file")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_a_user_of_its_own_without_rights() -> None:
    expected = {"user_and_rights": "own=True rights=0 dies_with_parent=True"}
    assert expected == attempts("process", "user_and_rights", TAKE_OWN_USER="1")
    assert {"fork": "SIGSYS", "thread_bomb": "RuntimeError"} == attempts(
        "cage", "fork", "thread_bomb", TAKE_OWN_USER="1"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to lose")
def test_root_that_stays_root_has_no_rights() -> None:
    said = attempts("process", "user_and_rights")["user_and_rights"]
    assert "rights=0 " in said
