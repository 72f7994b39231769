"""Malformed archives, tensors and messages: whatever comes in, what goes out is one of the answers we know.

`GRADCLINIC_FUZZ_INPUTS=20000 pytest tests/hostile/test_hostile_fuzz.py` is the long form.
"""

from __future__ import annotations

import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gradclinic.v1 import diagnosis_pb2, executor_pb2, finding_pb2
from gradclinic_worker.limits import MAX_MESSAGE_BYTES
from gradclinic_worker.process import pipe, replies
from hostile.hostile_archives import Plain, saved

if TYPE_CHECKING:
    from collections.abc import Iterator

INPUTS = int(os.environ.get("GRADCLINIC_FUZZ_INPUTS", "25"))
ARCHIVE = saved(Plain())
TENSORS = safetensors.torch.save({"0": torch.randn(16, 8), "mask": torch.ones(16, dtype=torch.bool)})
REPLY = executor_pb2.ExecutorReply(
    result=diagnosis_pb2.DiagnosisResult(verdict=finding_pb2.VERDICT_HEALTHY, notes=["a note"], loss=0.5)
).SerializeToString()

many = settings(
    max_examples=INPUTS,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
# What the engine may say of bytes that a stranger sent; INTERNAL would be a defect of ours.
KNOWN = {"RESULT", "BAD_ARCHIVE", "BAD_INPUTS", "FORBIDDEN_OPERATOR", "FORWARD_ERROR", "LOSS_ERROR", "OUT_OF_MEMORY"}
# A parser of torch's that crashes takes only its own process with it.
CONTAINED = {"SIGSEGV", "SIGABRT", "SIGFPE", "SIGBUS", "SIGALRM", "SIGXCPU", "SIGSYS"}


class CagedEngine:
    """A program that runs the engine on what it is sent, each time in a fresh caged process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("caged_engine.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, model: bytes, inputs: bytes) -> str:
        """What came of it: RESULT, a reason, or a signal."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{len(model)} {len(inputs)}\n".encode() + model + inputs)
        self.process.stdin.flush()
        return str(json.loads(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def engine() -> Iterator[CagedEngine]:
    engine = CagedEngine()
    yield engine
    engine.process.communicate(b"")


def entries(archive: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def zipped(contents: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes with a few of them changed, cut out or put in."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        match draw(st.sampled_from(["change", "cut", "insert", "repeat"])):
            case "change":
                changed[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del changed[at : at + draw(st.integers(1, 40))]
            case "insert":
                changed[at:at] = draw(st.binary(min_size=1, max_size=12))
            case "repeat":
                changed[at:at] = changed[at : at + 30] * draw(st.integers(1, 4))
    return bytes(changed)


@st.composite
def damaged_inside(draw: st.DrawFn) -> bytes:
    """A sound zip file of which one entry is damaged: reaches torch's parsers of code and pickles."""
    contents = entries(ARCHIVE)
    name = draw(st.sampled_from(sorted(name for name in contents if not name.endswith(".debug_pkl"))))
    return zipped(contents | {name: draw(damaged(contents[name]))})


def check(came: str) -> None:
    assert came in KNOWN | CONTAINED, came


@many
@given(model=damaged(ARCHIVE))
def test_a_damaged_archive(engine: CagedEngine, model: bytes) -> None:
    check(engine.run(model, TENSORS))


@many
@given(model=damaged_inside())
def test_an_archive_with_a_damaged_entry(engine: CagedEngine, model: bytes) -> None:
    check(engine.run(model, TENSORS))


@many
@given(inputs=damaged(TENSORS) | st.binary(max_size=200))
def test_damaged_tensors(engine: CagedEngine, inputs: bytes) -> None:
    check(engine.run(ARCHIVE, inputs))


@many
@given(message=damaged(REPLY) | st.binary(max_size=300))
def test_what_an_executor_may_say(message: bytes) -> None:
    try:
        reply = replies.ReplyReader().read(message)
    except replies.ReplyRefused:
        return
    reply.SerializeToString()


@many
@given(content=st.binary(max_size=300))
def test_what_a_supervisor_may_be_sent(content: bytes) -> None:
    try:
        executor_pb2.ExecutorRequest.FromString(content)
    except DecodeError:
        return


@many
@given(pieces=st.lists(st.binary(max_size=40), max_size=10))
def test_messages_in_any_pieces(pieces: list[bytes]) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(0.0)
        reader = pipe.MessageReader()
        for piece in pieces:
            there.sendall(piece)
            try:
                messages, gone = reader.feed(here)
            except pipe.MessageTooLarge:
                return
            assert not gone
            assert all(len(message) <= MAX_MESSAGE_BYTES for message in messages)
