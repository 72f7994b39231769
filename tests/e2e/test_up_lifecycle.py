"""`gradclinic up`: starts, keeps, restarts and ends a whole tree of processes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest
import torch
from torch import nn

from gradclinic import Client
from real_stack import GRADCLINIC, RealProcess, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

READY = r"^gradclinic is up: (\S+:\d+)$"
STOP_LIMIT_SECONDS = 5.0


class Up(RealProcess):
    """A running `gradclinic up`."""

    @property
    def target(self) -> str:
        return self.ready.group(1)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def zombies(self) -> list[int]:
        """Ended children, adopted ones included, that nobody has taken note of."""
        children = psutil.Process(self.process.pid).children()
        return [child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE]

    def child(self, word: str) -> psutil.Process:
        """The direct child whose program or one of whose arguments is this word."""
        children = psutil.Process(self.process.pid).children()
        living = [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        return next(child for child in living if word in (child.name(), *child.cmdline()))


def start(tmp_path: Path, *options: str, state: str = "state", log: str = "up.log") -> Up:
    arguments = ("up", "--listen", "localhost:0", "--metrics-listen", "off", "--device", "cpu")
    return Up(tmp_path / log, (*arguments, "--state-dir", str(tmp_path / state), *options), READY)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that the tests of this file share; each leaves it whole."""
    running = start(tmp_path_factory.mktemp("up"))
    yield running
    running.stop()


def state_of(up: Up) -> Path:
    return up.log_path.parent / "state"


def diagnose(target: str) -> str:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    with Client(target) as client:
        return client.diagnose(model, torch.randn(8, 4), wait=60).id


def gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Which of the processes are still there after some seconds."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_soon(tmp_path: Path, number: signal.Signals) -> None:
    up = start(tmp_path, "--workers", "2")
    diagnose(up.target)
    processes = up.descendants()
    assert 5 <= len(processes)  # the store, the API, and two workers with their children
    started = time.monotonic()
    assert 0 == up.stop(number)
    assert STOP_LIMIT_SECONDS > time.monotonic() - started
    assert [] == gone(processes, 0)


def test_a_killed_up_takes_everything_with_it(tmp_path: Path) -> None:
    up = start(tmp_path)
    processes = up.descendants()
    up.process.kill()
    up.process.wait()
    assert [] == gone(processes, STOP_LIMIT_SECONDS)
    again = start(tmp_path)  # the lock is free, the store's file is whole
    assert 0 == again.stop()


def test_diagnoses_survive_a_restart(tmp_path: Path) -> None:
    up = start(tmp_path)
    try:
        identifier = diagnose(up.target)
        assert any((state_of(up) / "artifacts").iterdir())  # models do not fill the store's memory
    finally:
        up.stop()
    again = start(tmp_path, log="again.log")
    try:
        with Client(again.target) as client:
            assert "HEALTHY" == client.get(identifier).verdict
    finally:
        assert 0 == again.stop(signal.SIGTERM)


def test_diagnoses_survive_a_killed_store(up: Up) -> None:
    identifier = diagnose(up.target)
    up.child("valkey-server").kill()
    deadline = time.monotonic() + 20
    verdict = None
    with Client(up.target) as client:
        while verdict is None and time.monotonic() < deadline:
            with contextlib.suppress(Exception):
                verdict = client.get(identifier).verdict
        assert "HEALTHY" == verdict
    assert "store was killed by SIGKILL; restarting it" in up.log


@pytest.mark.parametrize(("command", "name"), [("serve", "api"), ("work", "worker-1")])
def test_what_dies_is_started_again_in_its_place(up: Up, command: str, name: str) -> None:
    up.child(command).kill()
    deadline = time.monotonic() + 20
    while f"{name} was killed by SIGKILL; restarting it" not in up.log and time.monotonic() < deadline:
        time.sleep(0.05)
    assert f"{name} was killed by SIGKILL; restarting it" in up.log
    assert diagnose(up.target)
    while up.zombies() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [] == up.zombies()


def run_up(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    arguments = [str(GRADCLINIC), "up", "--metrics-listen", "off", "--device", "cpu", *options]
    return subprocess.run(
        arguments, capture_output=True, text=True, timeout=60, env=clean_environment(), cwd=tmp_path, check=False
    )


def test_a_second_one_on_the_same_state_directory_says_so(up: Up, tmp_path: Path) -> None:
    second = run_up(tmp_path, "--listen", "localhost:0", "--state-dir", str(state_of(up)))
    assert 3 == second.returncode
    assert f"another `gradclinic up` (process {up.process.pid}, API at {up.target}) uses the state" in second.stderr


def test_a_second_one_on_the_same_port_says_so(up: Up, tmp_path: Path) -> None:
    second = run_up(tmp_path, "--listen", up.target, "--state-dir", str(tmp_path / "other"))
    assert 3 == second.returncode
    assert f"cannot listen on {up.target}: Address already in use" in second.stderr


def test_what_does_not_start_is_shown_with_its_log(tmp_path: Path) -> None:
    failed = run_up(tmp_path, "--listen", "localhost:0", "--device", "cuda:99", "--state-dir", str(tmp_path / "state"))
    assert 3 == failed.returncode
    assert "worker-1 exited with code" in failed.stderr
    assert "  | " in failed.stderr


def test_a_state_directory_with_a_long_name(tmp_path: Path) -> None:
    assert 0 == start(tmp_path, state="x" * 120).stop()


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    failed = run_up(tmp_path, "--listen", "localhost:0", "--state-dir", str(tmp_path / "file" / "state"))
    assert 3 == failed.returncode
    assert "cannot use the state directory" in failed.stderr


def test_the_store_is_closed_to_others(up: Up) -> None:
    sockets = list((state_of(up) / "store").glob("*.sock"))
    assert [0o700] == [path.stat().st_mode & 0o777 for path in sockets]
    assert 0o700 == state_of(up).stat().st_mode & 0o777
    listening = [
        connection.laddr.port
        for connection in up.child("valkey-server").net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [] == listening
