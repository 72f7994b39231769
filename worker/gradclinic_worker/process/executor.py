"""The executor: a process that is made ready ahead of time, runs one stranger's model, answers and ends."""

from __future__ import annotations

import logging
import os
import random
import re
import sys
import traceback
from typing import TYPE_CHECKING, Protocol

import torch
from google.protobuf.message import DecodeError

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_engine.errors import AnalysisError
from gradclinic_engine.memory_errors import says_out_of_memory
from gradclinic_engine.observe import randomness
from gradclinic_engine.torchscript.raised import is_raised_by_script
from gradclinic_worker.process import pipe, rehearsal

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from gradclinic_worker.settings import ExecutorSettings

# As torch's allocators of mapped files word it.
_REFUSED_FILE = re.compile(r"unable to open file <.*> in [\w-]+ mode: Permission denied \(13\)", re.DOTALL)
_MAX_TRACE_CHARACTERS = 20_000
ONE_THREAD_BYTES = 32_768 * 4
"""A run whose attachments are no larger gets one thread: over so many numbers torch itself splits no operation
(`at::internal::GRAIN_SIZE`). MKL splits the smallest, and waits for its threads longer than they work."""

_log = logging.getLogger(__name__)


class Analyse(Protocol):
    """What the executor runs: the engine's `analyse`."""

    def __call__(  # noqa: D102 - the class says it
        self,
        spec: diagnosis_pb2.DiagnosisSpec,
        files: Mapping[executor_pb2.Attachment.ValueType, str],
        *,
        device: torch.device,
        entered: Callable[[diagnosis_pb2.DiagnosisStage.ValueType, float], None],
    ) -> diagnosis_pb2.DiagnosisResult: ...


def warm_up(analyse: Analyse) -> None:
    """Do before the fork what may be done there, for all executors at once."""
    torch.set_num_threads(1)  # threads do not survive a fork: each executor takes its own
    _seed(0)  # imports much
    if rehearsal.survives_fork():
        rehearsal.rehearse(analyse, torch.device("cpu"), diagnosis_pb2.DEPTH_STANDARD)


def initialise_device(settings: ExecutorSettings, analyse: Analyse) -> torch.device:
    """Take the threads and the device that the settings name; only after the fork, for neither survives one.

    Raises:
        RuntimeError: There is no such device, or it does not answer.
    """
    torch.set_num_threads(settings.threads)
    device = torch.device(settings.device)
    if settings.cuda:
        if not torch.cuda.is_available():
            raise RuntimeError(f"torch {torch.__version__} finds no usable CUDA device here; see --device")
        torch.cuda.set_device(device)
        torch.cuda.set_per_process_memory_fraction(settings.device_memory_share, device)
    if not rehearsal.survives_fork():
        rehearsal.rehearse(analyse, device, diagnosis_pb2.DEPTH_QUICK)
    return device


def device_title(device: torch.device) -> str:
    """The device's name for people: `cpu`, or `cuda:0 NVIDIA H200`."""
    return f"{device} {torch.cuda.get_device_name(device)}" if device.type == "cuda" else str(device)


def run_one_job(job_pipe: socket.socket, analyse: Analyse, device: torch.device) -> None:
    """Wait for one request, run it, answer. Returns without an answer where nobody asks or listens."""
    try:
        content, descriptors = pipe.receive(job_pipe)
        request = executor_pb2.ExecutorRequest.FromString(content)
    except (pipe.PipeClosed, DecodeError):
        return
    if sum(os.fstat(descriptor).st_size for descriptor in descriptors) <= ONE_THREAD_BYTES:
        torch.set_num_threads(1)
    reply = _answer(request, descriptors, analyse, device, job_pipe)
    try:
        pipe.send(job_pipe, reply.SerializeToString())
    except pipe.MessageTooLarge as error:
        failure = _internal(f"The result is too large to hand over: {error}.")
        pipe.send(job_pipe, executor_pb2.ExecutorReply(failure=failure).SerializeToString())


def _answer(
    request: executor_pb2.ExecutorRequest,
    descriptors: list[int],
    analyse: Analyse,
    device: torch.device,
    job_pipe: socket.socket,
) -> executor_pb2.ExecutorReply:
    def entered(stage: diagnosis_pb2.DiagnosisStage.ValueType, progress: float) -> None:
        reply = executor_pb2.ExecutorReply(stage=executor_pb2.StageEntered(stage=stage, progress=progress))
        pipe.send(job_pipe, reply.SerializeToString())

    files = {
        attachment: f"/proc/self/fd/{descriptor}"
        for attachment, descriptor in zip(request.attachments, descriptors, strict=True)
    }
    _seed(request.spec.seed)
    try:
        return executor_pb2.ExecutorReply(result=analyse(request.spec, files, device=device, entered=entered))
    except AnalysisError as error:
        return executor_pb2.ExecutorReply(failure=_seen_by_cage(error))
    except Exception as error:  # noqa: BLE001 - the job boundary: whatever escapes becomes an answer
        return executor_pb2.ExecutorReply(failure=_failure(error))


def _seen_by_cage(error: AnalysisError) -> diagnosis_pb2.Failure:
    """The failure; a file that the cage kept shut is called what it is, an operator that is not allowed.

    What the model raises itself is its own business, whatever it says.
    """
    reason = diagnosis_pb2.FailureReason.Value(f"FAILURE_REASON_{error.reason}")
    failure = diagnosis_pb2.Failure(reason=reason, message=error.message, field=error.field, trace=error.trace)
    if _REFUSED_FILE.search(failure.message) and not is_raised_by_script(error.__cause__):
        failure.reason = diagnosis_pb2.FAILURE_REASON_FORBIDDEN_OPERATOR
        failure.message = f"The model tried to open a file, which is not allowed here. {failure.message}"
    return failure


def _failure(error: Exception) -> diagnosis_pb2.Failure:
    if says_out_of_memory(error):
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else "the allocator gave up"
        return diagnosis_pb2.Failure(
            reason=diagnosis_pb2.FAILURE_REASON_OUT_OF_MEMORY,
            message=f"The run needed more memory than it may take ({first_line[:500]}). "
            "Use a smaller batch or a worker with more memory.",
        )
    print(traceback.format_exc()[-_MAX_TRACE_CHARACTERS:], file=sys.stderr, flush=True)  # noqa: T201 - the supervisor reads it
    return _internal("The analysis met a defect of gradclinic; it is logged on the worker.")


def _internal(message: str) -> diagnosis_pb2.Failure:
    return diagnosis_pb2.Failure(reason=diagnosis_pb2.FAILURE_REASON_INTERNAL, message=message)


def _seed(seed: int) -> None:
    random.seed(seed)
    randomness.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed % 2**32)
