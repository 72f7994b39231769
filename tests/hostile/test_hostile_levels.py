"""Levels are told as the kernel grants them, a violation is told and counted, and too little is refused."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from gradclinic.v1 import diagnosis_pb2
from real_stack import RealProcess, clean_environment
from real_worker import RealWorker

if TYPE_CHECKING:
    from hostile.patient import Patient

GRADCLINIC = str(Path(sys.executable).with_name("gradclinic"))
WITHOUT_LANDLOCK = (sys.executable, str(Path(__file__).with_name("without_landlock.py")), sys.executable)
WORKER = str(Path(__file__).parent.parent / "real_worker.py")
SUCCEEDED = diagnosis_pb2.DIAGNOSIS_STATE_SUCCEEDED


def test_the_worker_says_at_its_start_how_it_confines(patient: Patient) -> None:
    assert re.search(r"INFO .*executors are confined at level cage \(.*landlock \d+.*seccomp\)", patient.worker.log)
    (live,) = patient.worker.store.fleet.live()
    assert "cage" == live.sandbox_level


def test_a_kernel_without_landlock_is_told(redis_url: str) -> None:
    with RealWorker(redis_url, "--require-sandbox", "seccomp", command=(*WITHOUT_LANDLOCK, WORKER)) as worker:
        assert "confined at level seccomp" in worker.log
        assert "MISSING: landlock: this kernel or container does not offer it" in worker.log
        diagnosis = worker.final(worker.submit("answer"))
        assert (SUCCEEDED, "seccomp") == (diagnosis.state, diagnosis.result.environment.sandbox_level)


def test_a_worker_refuses_to_start_with_less_than_it_would_have(redis_url: str) -> None:
    ended = subprocess.run(
        [*WITHOUT_LANDLOCK, GRADCLINIC, "work", "--redis", redis_url, "--metrics-listen", "off"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 3 == ended.returncode
    words = (
        "level seccomp, and --require-sandbox asks for cage",
        "Missing: landlock",
        "with --require-sandbox seccomp.",
    )
    assert [True] * 3 == [one in ended.stderr for one in words], ended.stderr


def up(tmp_path: Path, listen: str) -> tuple[str, ...]:
    state = str(tmp_path / "state")
    return ("up", "--listen", listen, "--metrics-listen", "off", "--device", "cpu", "--state-dir", state)


def test_up_runs_with_less_while_it_serves_its_own_machine(tmp_path: Path) -> None:
    command = (*WITHOUT_LANDLOCK, GRADCLINIC)
    running = RealProcess(tmp_path / "log", up(tmp_path, "localhost:0"), r"^gradclinic is up: (\S+)$", command)
    assert "confined at level seccomp" in (tmp_path / "state" / "logs" / "worker-1.log").read_text()
    assert 0 == running.stop()


def test_up_demands_the_cage_when_it_serves_others(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*WITHOUT_LANDLOCK, GRADCLINIC, *up(tmp_path, "0.0.0.0:0")],
        env=clean_environment() | {"GRADCLINIC_ALLOW_ANONYMOUS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (3, True) == (ended.returncode, "--require-sandbox asks for cage" in ended.stderr), ended.stderr


def test_a_violation_is_told_and_counted(redis_url: str) -> None:
    with RealWorker(redis_url, "--metrics-listen", "127.0.0.1:0") as worker:
        failure = worker.final(worker.submit("dial")).failure
        assert diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR == failure.reason
        assert "ended by its sandbox" in failure.message
        port = re.search(r"metrics are served host=127.0.0.1 port=(\d+)", worker.log)
        assert port

        def counted() -> bool:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/metrics", timeout=5) as response:
                text = response.read().decode()
            return 'gradclinic_worker_sandbox_violations_total{layer="seccomp"} 1.0' in text

        worker.await_true(counted, 5.0)
        assert SUCCEEDED == worker.final(worker.submit("answer")).state
