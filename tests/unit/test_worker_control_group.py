"""How much of a machine is ours: what control groups of both versions say, and a real one where it can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gradclinic_worker import control_group

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION_1 = "9:name=systemd:/\n4:memory:/outer/inner\n2:cpu,cpuacct:/outer/inner\n"
VERSION_2 = "0::/outer/inner\n"
CASES: dict[str, tuple[str, dict[str, str], tuple[float | None, int | None]]] = {
    "half a CPU, version 2": (VERSION_2, {"outer/inner/cpu.max": "50000 100000\n"}, (0.5, None)),
    "half a CPU, version 1": (
        VERSION_1,
        {
            "cpu,cpuacct/outer/inner/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/outer/inner/cpu.cfs_period_us": "100000\n",
        },
        (0.5, None),
    ),
    "no limit, version 2": (VERSION_2, {"outer/inner/cpu.max": "max 100000", "memory.max": "max"}, (None, None)),
    "no limit, version 1": (
        VERSION_1,
        {"cpu,cpuacct/outer/cpu.cfs_quota_us": "-1", "cpu,cpuacct/outer/cpu.cfs_period_us": "100000"},
        (None, None),
    ),
    "the group around it": (
        VERSION_2,
        {"outer/cpu.max": "300000 100000", "outer/inner/cpu.max": "max 100000", "outer/memory.max": "1000"},
        (3.0, 1000),
    ),
    "a container that sees the host's names, version 1": (
        VERSION_1,
        {
            "cpu/cpu.cfs_quota_us": "150000",
            "cpu/cpu.cfs_period_us": "100000",
            "memory/memory.limit_in_bytes": "4096",
        },
        (1.5, 4096),
    ),
    "both versions": (
        VERSION_1 + "0::/\n",
        {"memory/outer/inner/memory.limit_in_bytes": "4096", "unified/cpu.max": "200000 100000"},
        (2.0, 4096),
    ),
    "nothing": ("", {}, (None, None)),
}


@pytest.mark.parametrize("case", CASES)
def test_the_tightest_group_counts(case: str, tmp_path: Path) -> None:
    membership, files, expected = CASES[case]
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    own = tmp_path / "membership"
    own.write_text(membership)
    assert expected == (control_group.cpus(tmp_path, own), control_group.memory_bytes(tmp_path, own))


def test_a_kernel_without_control_groups_limits_nothing(tmp_path: Path) -> None:
    absent = tmp_path / "membership"
    assert (None, None) == (control_group.cpus(tmp_path, absent), control_group.memory_bytes(tmp_path, absent))


@pytest.fixture
def half_a_cpu() -> Iterator[Path]:
    """A control group with half a CPU."""
    parent = control_group.MOUNT if (control_group.MOUNT / "cpu.max").exists() else control_group.MOUNT / "cpu"
    group = parent / f"gradclinic-test-{os.getpid()}"
    try:
        group.mkdir()
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            (group / "cpu.max").write_text("50000 100000")
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    yield group
    group.rmdir()


def test_half_a_cpu_is_one_thread(half_a_cpu: Path) -> None:
    program = (
        f"import os, pathlib; pathlib.Path({str(half_a_cpu / 'cgroup.procs')!r}).write_text(str(os.getpid()));"
        "from gradclinic_worker import command;"
        "settings = command.settings_from(command.work.make_context('work', ['--device', 'cpu']).params);"
        "print(settings.executor.threads)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "1" == said.strip()
