"""A real zygote whose executors run these bodies in place of the engine: `python executor_bodies.py`.

The label `body` of a diagnosis says which. Tests start it where the worker would start its own zygote.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import random
import signal
import socket
import stat
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gradclinic.v1 import diagnosis_pb2, executor_pb2, finding_pb2
from gradclinic_engine.errors import AnalysisError, FailureReason
from gradclinic_worker.process import zygote_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Entered = Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None]
    Files = Mapping[executor_pb2.Attachment.ValueType, str]


TGKILL = {"x86_64": 234, "aarch64": 131}[platform.machine()]


def _descriptors() -> dict[int, str]:
    """What is open beyond standard input and output, and what it is."""
    links = {}
    for entry in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(FileNotFoundError):  # of the listing itself
            links[int(entry.name)] = str(entry.readlink())
    return {number: link for number, link in links.items() if number > 2}


def _pipe() -> socket.socket:
    (number,) = (number for number in range(3, 256) if _is_socket(number))
    return socket.socket(fileno=os.dup(number))


def _is_socket(number: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False


def _result(*notes: str) -> diagnosis_pb2.DiagnosisResult:
    return diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY, notes=notes)


def answer(files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    for stage, progress in ((diagnosis_pb2.DIAGNOSIS_STAGE_LOAD, 0.1), (diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)):
        entered(stage, progress)
    result = _result(*(f"{kind} {hashlib.sha256(Path(path).read_bytes()).hexdigest()}" for kind, path in files.items()))
    timing = result.environment.timings.add(stage=diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD)
    timing.duration.FromMilliseconds(1500)
    return result


def slow(_files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    entered(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.3)
    time.sleep(2.0)
    return _result("slow")


def stages(files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    """Is a while in forward, and a while in backward; the same request gives the same notes."""
    for stage, progress in (
        (diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.3),
        (diagnosis_pb2.DIAGNOSIS_STAGE_BACKWARD, 0.6),
    ):
        entered(stage, progress)
        time.sleep(0.4)
    return _result(*(hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files.values()))


def endless(_files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    for stage in (diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, diagnosis_pb2.DIAGNOSIS_STAGE_BACKWARD):
        entered(stage, 0.5)
        time.sleep(1.0)
    while True:
        time.sleep(0.01)


def loop(_files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    entered(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.3)
    while True:
        time.sleep(0.01)


def overwrite(files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    notes = []
    for path in files.values():
        try:
            with Path(path).open("r+b") as file:
                file.write(b"changed")
            notes.append("changed")
        except OSError as error:
            notes.append(str(error.strerror))
    return _result(*notes)


def surroundings(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    """Notes of what an executor can see: its environment, its descriptors, its directory, its limits."""
    environment = Path("/proc/self/environ").read_bytes().split(b"\0")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    return _result(
        *(f"environ {entry.decode()}" for entry in environment if entry),
        *(f"variable {name}" for name in os.environ),
        *(f"descriptor {link}" for link in _descriptors().values()),
        f"cwd {Path.cwd()}",
        f"no_new_privs {status['NoNewPrivs']}",
        f"limits {Path('/proc/self/limits').read_text()}",
    )


def write_file(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    try:
        Path("/tmp/gradclinic-must-not-appear").write_text("here")
    except OSError as error:
        return _result(str(error.strerror))
    return _result("written")


def dial(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    socket.create_connection(("127.0.0.1", 9), timeout=1.0)
    return _result("connected")


def use_memory(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    return _result(str(torch.ones(2**40).sum()))


def refuse(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    raise AnalysisError(FailureReason.FORWARD_ERROR, "shapes do not fit", field="spec.inputs_sha256", trace="at line 3")


def claim_worker_lost(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    raise AnalysisError("WORKER_LOST", "try me again")  # type: ignore[arg-type]  # as a hostile executor would


def defect(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    raise ZeroDivisionError("a secret of the implementation")


def segfault(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    ctypes.string_at(0)
    return _result()


def abort(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
    os.abort()


def kill(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    os.kill(os.getpid(), signal.SIGKILL)
    return _result()


def cancel_thread(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    ctypes.CDLL(None).syscall(TGKILL, os.getpid(), threading.get_native_id(), 32)
    return _result()


def leave(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    os._exit(0)


def close_pipe(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    _pipe().shutdown(socket.SHUT_RDWR)
    while True:
        time.sleep(0.01)


def oversize(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    _pipe().sendall(struct.pack("!I", 2**31) + bytes(1000))
    time.sleep(60.0)
    return _result()


def too_much(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    return _result("x" * (5 * 2**20))


def garbage(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    _pipe().sendall(struct.pack("!I", 5) + b"\xff\xff\xff\xff\xff")
    time.sleep(60.0)
    return _result()


def flood(_files: Files, entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    while True:
        entered(diagnosis_pb2.DIAGNOSIS_STAGE_FORWARD, 0.5)


def shout(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    for _ in range(1000):
        os.write(2, b"noise" * 1000)
    return _result("heard")


def seeded(_files: Files, _entered: Entered) -> diagnosis_pb2.DiagnosisResult:
    return _result(f"{random.random()} {torch.rand(1).item()}", f"threads {torch.get_num_threads()}")


def analyse(
    spec: diagnosis_pb2.DiagnosisSpec,
    files: Files,
    *,
    device: torch.device,  # noqa: ARG001 - the engine's signature
    entered: Entered,
) -> diagnosis_pb2.DiagnosisResult:
    body: Callable[[Files, Entered], diagnosis_pb2.DiagnosisResult] = globals()[spec.labels.get("body", "answer")]
    return body(files, entered)


if __name__ == "__main__":
    zygote_process.run(analyse, zygote_process.read_settings())
