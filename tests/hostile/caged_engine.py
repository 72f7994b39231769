"""A program that runs the engine on what comes in through standard input, each time in a fresh caged process.

A line `MODEL_BYTES INPUT_BYTES`, then the bytes; the answer is a line of JSON: RESULT, a reason, or a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import safetensors.torch
import torch

from gradclinic.v1 import diagnosis_pb2, executor_pb2
from gradclinic_worker.analysis import analyse
from gradclinic_worker.cage import sandbox
from gradclinic_worker.process import executor

MEMORY_BYTES = 512 * 2**20
LIMIT_SECONDS = 10
TARGET = safetensors.torch.save({"target": torch.zeros(16, dtype=torch.int64)})


def memory_file(content: bytes) -> int:
    """A descriptor of an anonymous file."""
    descriptor = os.memfd_create("fuzz", 0)
    os.write(descriptor, content)
    return descriptor


def answer(model: int, inputs: int, target: int) -> str:
    """Run the engine as an executor does."""
    request = executor_pb2.ExecutorRequest()
    request.attachments.extend(
        [executor_pb2.ATTACHMENT_MODEL, executor_pb2.ATTACHMENT_INPUTS, executor_pb2.ATTACHMENT_TARGET]
    )
    request.spec.depth = diagnosis_pb2.DEPTH_QUICK
    request.spec.loss.functional.name = "cross_entropy"
    silent = _Silent()
    reply = executor._answer(request, [model, inputs, target], analyse, torch.device("cpu"), silent)  # type: ignore[arg-type]  # noqa: SLF001  # what it sends stays here
    if reply.HasField("result"):
        return "RESULT"
    return diagnosis_pb2.FailureReason.Name(reply.failure.reason).removeprefix("FAILURE_REASON_")


class _Silent:
    """A pipe on which stages are told to nobody."""

    def sendall(self, content: bytes) -> None:
        """Drop it."""


def run(model: bytes, inputs: bytes) -> str:
    """Fork, confine, run; what came of it."""
    descriptors = [memory_file(content) for content in (model, inputs, TARGET)]
    readable, writable = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        limits = sandbox.Limits(MEMORY_BYTES, LIMIT_SECONDS, cuda=False)
        confining = sandbox.Confining(sandbox.SandboxLevel.CAGE, limits)
        confining.finish(parent)
        os.write(writable, answer(*descriptors).encode())
        os._exit(0)
    for descriptor in (*descriptors, writable):
        os.close(descriptor)
    with os.fdopen(readable, "rb") as said:
        came = said.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return signal.Signals(-code).name if code < 0 else came or f"exit {code}"


def main() -> None:
    """Answer until standard input ends."""
    executor.warm_up(analyse)
    sandbox.prepare()
    while line := sys.stdin.buffer.readline():
        sizes = [int(size) for size in line.split()]
        model, inputs = (sys.stdin.buffer.read(size) for size in sizes)
        sys.stdout.write(json.dumps(run(model, inputs)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
