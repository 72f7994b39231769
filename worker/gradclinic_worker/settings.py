"""What a worker is told at its start: one frozen record per process, handed on as JSON through standard input."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

import click

from gradclinic.addresses import Address
from gradclinic.command_options import (
    ADDRESS_OR_OFF,
    COUNT,
    COUNT_OR_ZERO,
    LOG_LEVEL,
    NAME,
    SECONDS_OR_ZERO,
    SIZE_OR_ZERO,
    Kind,
    nested,
    parsed,
    setting,
)
from gradclinic_engine.torchscript.vetting_policy import parse_names
from gradclinic_store.settings import StoreSettings
from gradclinic_worker import control_group
from gradclinic_worker.cage.sandbox import SandboxLevel

AUTO_MEMORY_SHARE = 0.8
"""Share of the machine's memory that one executor may take when no limit is given."""


CPU_SLACK_SECONDS = 10
"""CPU time that an executor may take beyond its threads' longest run: to start, and to be ended by the clock first."""


def _device(text: str) -> str:
    if not _DEVICE.fullmatch(text):
        raise ValueError(f"{text!r} is not auto, cpu or cuda:N")
    return text


_DEVICE: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
DEVICE: Final = parsed("DEVICE", _device)
SHARE: Final = Kind(click.FloatRange(min=0, max=1, min_open=True), "SHARE")
SANDBOX: Final = Kind(click.Choice([level.value for level in SandboxLevel]))
OPERATORS: Final = parsed("NAMES", parse_names)

OF_STORE: Final = (
    *("redis_url", "blob_url", "run_limit_seconds", "tenant_max_running"),
    *("diagnosis_retention_seconds", "quarantine_seconds", "lease_seconds"),
)
"""What a worker knows of the store's settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorSettings:
    """What the zygote and its executors know. By construction there is no credential in it."""

    device: str = setting(DEVICE, "auto", "auto, cpu or cuda:N. auto takes the first GPU, if there is one.")
    """Once it is in force, `cpu` or `cuda:N`."""
    threads: int = setting(
        COUNT_OR_ZERO, 0, "CPU threads of a run; 0: as many as it may use CPUs. A run of up to 128 KiB uses one."
    )
    spare_executors: int = setting(COUNT, 1, "Processes kept warm for the next job.")
    memory_limit_bytes: int = setting(
        SIZE_OR_ZERO,
        "0",
        "Memory of one run on a CPU; 0: 80 % of the machine's (container's).",
        flag="--memory-limit",
    )
    """Beyond what an executor starts with."""
    cpu_limit_seconds: float  # of one executor, all its threads together
    device_memory_share: float = setting(SHARE, 0.9, "Share of a GPU's memory that one run may take.")
    sandbox: SandboxLevel = setting(
        SANDBOX, "cage", "How strongly to confine what runs a model, as far as the kernel allows it."
    )
    required_sandbox: SandboxLevel = setting(
        SANDBOX,
        None,
        "Refuse to start where the kernel grants less.",
        flag="--require-sandbox",
        shown="what --sandbox names",
        unset=SandboxLevel.CAGE,
    )
    allowed_operators: tuple[str, ...] = setting(
        OPERATORS, "", "Operators that a model may use beside arithmetic, with commas.", flag="--allow-operators"
    )
    denied_operators: tuple[str, ...] = setting(
        OPERATORS, "", "Operators that no model may use: namespaces or NAMESPACE::NAME.", flag="--deny-operators"
    )
    log_level: str = setting(LOG_LEVEL, "info", "What to log, on standard error.")
    zygote_socket: str = ""  # where executors are handed out
    report_pipe: str = ""  # where trusted children tell the main process what happens

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

    store: StoreSettings = nested(StoreSettings, only=OF_STORE)
    executor: ExecutorSettings = nested(ExecutorSettings)
    drain_seconds: float = setting(SECONDS_OR_ZERO, 25.0, "How long a running diagnosis may go on after SIGTERM.")
    metrics_listen: Address | None = setting(ADDRESS_OR_OFF, "localhost:9465", "Where to serve /metrics; or off.")
    worker_id: str = setting(NAME, "", "Name of this worker in the fleet; empty: made from host and process id.")

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
