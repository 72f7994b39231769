"""What the kernel's control groups (version 1 and 2) leave to this process of the machine's CPUs and memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cpus(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> float | None:
    """CPU seconds that this process may use per second, or None where no group limits them.

    Args:
        mount: Where the control groups are mounted.
        membership: The file that names this process's groups, one line per hierarchy.
    """
    limits = []
    for group in _groups("cpu", mount, membership):
        quota, period = [*_words(group / "cpu.max"), "", ""][:2]  # version 2: `max 100000` or `50000 100000`
        if not quota:
            quota, period = ("".join(_words(group / f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        if quota.isdigit() and period.isdigit():  # `max` and -1: no limit
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def memory_bytes(mount: Path = MOUNT, membership: Path = MEMBERSHIP) -> int | None:
    """Memory that this process's groups may take, or None for no limit; arguments as of `cpus`."""
    limits = [
        int(word)
        for group in _groups("memory", mount, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        for word in _words(group / name)
        if word.isdigit()
    ]
    return min(limits, default=None)


def _groups(controller: str, mount: Path, membership: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, each with those around it: all of them limit it.

    In a container the names may be those that the host sees, and only the outermost folder is there.
    """
    if not membership.is_file():  # a kernel without control groups
        return
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        for hierarchy in (mount / controllers, mount / controller) if controllers else (mount, mount / "unified"):
            innermost = hierarchy / name.lstrip("/")
            yield from (group for group in (innermost, *innermost.parents) if group.is_relative_to(hierarchy))


def _words(file: Path) -> list[str]:
    return file.read_text(encoding="ascii").split() if file.is_file() else []
