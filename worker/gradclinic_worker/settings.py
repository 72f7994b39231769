"""What a worker is told at its start: one frozen record per process, handed on as JSON through standard input."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Self

from gradclinic.addresses import Address
from gradclinic_store.settings import StoreSettings
from gradclinic_worker import control_group
from gradclinic_worker.cage.sandbox import SandboxLevel

AUTO_MEMORY_SHARE = 0.8
"""Share of the machine's memory that one executor may take when no limit is given."""


CPU_SLACK_SECONDS = 10
"""CPU time that an executor may take beyond its threads' longest run: to start, and to be ended by the clock first."""


@dataclass(frozen=True, slots=True)
class ExecutorSettings:
    """What the zygote and its executors know. By construction there is no credential in it."""

    device: str  # `cpu` or `cuda:N`
    threads: int  # CPU threads of one executor
    spare_executors: int  # ready and waiting, beside those at work
    memory_limit_bytes: int  # of one executor, beyond what it starts with; 0: no limit
    cpu_limit_seconds: float  # of one executor, all its threads together
    device_memory_share: float  # of a GPU's memory that one executor may take, 0..1
    sandbox: SandboxLevel  # what to try for
    required_sandbox: SandboxLevel  # what is the least
    allowed_operators: tuple[str, ...]  # beyond those that a model may use anyway
    denied_operators: tuple[str, ...]
    zygote_socket: str  # where executors are handed out
    report_pipe: str  # where trusted children tell the main process what happens
    log_level: str

    @property
    def cuda(self) -> bool:
        """Whether executors work on a GPU."""
        return self.device.startswith("cuda")

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        levels = {name: SandboxLevel(fields[name]) for name in ("sandbox", "required_sandbox")}
        operators = {name: tuple(fields[name]) for name in ("allowed_operators", "denied_operators")}
        return cls(**fields | levels | operators)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What the trusted processes of one worker know."""

    store: StoreSettings
    worker_id: str
    drain_seconds: float  # how long a running diagnosis may go on after SIGTERM
    metrics_listen: Address | None  # None: off
    executor: ExecutorSettings

    @property
    def device_kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.executor.device.partition(":")[0]

    def to_json(self) -> str:
        """As one line; holds credentials, so it goes through a pipe and never into arguments or environment."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        where = fields["metrics_listen"]
        records = {
            "metrics_listen": None if where is None else Address(**where),
            "store": StoreSettings(**fields["store"]),
            "executor": ExecutorSettings.from_json(json.dumps(fields["executor"])),
        }
        return cls(**fields | records)


def detected_device() -> str:
    """`cuda:0` where there is an NVIDIA device and a torch that can use it, else `cpu`; decided without torch."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "0") in {"", "-1"}
    has_gpu = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
    cpu_build = metadata.version("torch").endswith("+cpu")
    return "cuda:0" if has_gpu and not hidden and not cpu_build else "cpu"


def available_cpus() -> int:
    """CPUs that this process may keep busy: those it may run on, or its control groups' quota, rounded up, if less."""
    allowed = len(os.sched_getaffinity(0))
    quota = control_group.cpus()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def machine_memory_bytes() -> int:
    """Memory that this process may hope for: the machine's, or its control groups' where that is less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(physical, control_group.memory_bytes() or physical)
