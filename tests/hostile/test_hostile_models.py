"""Models that attack the worker that runs them: each is contained and named, and the next job runs."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from gradclinic.v1 import diagnosis_pb2
from hostile.hostile_archives import Stateful, saved, with_code

if TYPE_CHECKING:
    from hostile.patient import Patient

READ = 'place = torch.from_file("/etc/passwd", False, 8)'
LEFTOVER = f"/tmp/gradclinic-hostile-{os.getpid()}"

FORBIDDEN = {
    "reads a file": [READ],
    "writes a file": [f'place = torch.from_file("{LEFTOVER}", True, 8)'],
    "saves": [f'torch.save(x, "{LEFTOVER}")'],
    "by its full name": ['place = ops.aten.from_file("/etc/passwd", False, 8)'],
    "as a value": ["f = torch.from_file", 'place = f("/etc/passwd", False, 8)'],
    "by name": ['f = getattr(torch, "from_file")', 'place = f("/etc/passwd", False, 8)'],
    "through a variable": ["t = torch", 'place = t.from_file("/etc/passwd", False, 8)'],
    "through a namespace": ["o = ops.aten", 'place = o.from_file("/etc/passwd", False, 8)'],
    "with gaps": ["place = torch . \\", '  from_file ("/etc/passwd", False, 8)'],
    "by another name": ['place = torch.autograd.from_file("/etc/passwd", False, 8)'],
    "behind a string": ["t = \"'''\"; place = torch.from_file(\"/etc/passwd\", False, 8)  # '''"],
    "collective": ['place = ops._c10d_functional.all_reduce(x, "sum", "world")'],
    "our own probe": ["ops.gradclinic.probe(x, 0)"],
}

LOOP = ["n = 0", "while n >= 0:", "  n = n - n"]
GROW = ["kept = [torch.zeros([16777216])]", "while len(kept) > 0:", "  kept.append(torch.ones([16777216]))"]


@pytest.mark.parametrize("attack", FORBIDDEN)
def test_a_forbidden_operator_is_named_with_its_line(patient: Patient, attack: str) -> None:
    reason, message = patient.failure(with_code(*FORBIDDEN[attack]))
    assert "FORBIDDEN_OPERATOR" == reason, message
    assert "(code/__torch__.py:" in message or "(code/__torch__/hostile/hostile_archives.py:" in message, message


def test_an_operator_in_setstate_is_found_before_it_runs(patient: Patient) -> None:
    reason, message = patient.failure(with_code(READ, module=Stateful()))
    assert ("FORBIDDEN_OPERATOR", True) == (reason, "aten::from_file" in message)


@pytest.mark.parametrize("module", [None, Stateful()], ids=["forward", "load"])
def test_an_endless_loop_is_ended(patient: Patient, module: Stateful | None) -> None:
    began = time.monotonic()
    reason, message = patient.failure(with_code(*LOOP, module=module), timeout_seconds=2)
    assert "TIMED_OUT" == reason, message
    assert time.monotonic() - began < 10.0


def test_a_backward_without_end_is_ended(patient: Patient) -> None:
    lines = [
        "w = self.layer.weight[0, 0]",
        "for i in range(5000):",
        "  place = torch.add(place, torch.select(torch.expand(w, [20000000]), 0, 0))",
    ]
    reason, message = patient.failure(with_code(*lines), timeout_seconds=4)
    assert "TIMED_OUT" == reason, message


MEMORY = {
    "one allocation": ["place = torch.ones([1099511627776])"],
    "many allocations": GROW,
    "a string": ['s = "0123456789"', "while len(s) > 0:", "  s = torch.add(s, s)"],
    "a list": ["numbers = [1, 2, 3]", "while len(numbers) > 0:", "  numbers.extend(numbers)"],
    "in backward": ["place = torch.select(torch.expand(self.layer.weight[0, 0], [1000000000000]), 0, 0)"],
}


@pytest.mark.parametrize("attack", MEMORY)
def test_a_memory_bomb_meets_its_limit(patient: Patient, attack: str) -> None:
    reason, message = patient.failure(with_code(*MEMORY[attack]))
    assert "OUT_OF_MEMORY" == reason, message


def test_a_memory_bomb_at_load_meets_its_limit(patient: Patient) -> None:
    reason, message = patient.failure(with_code(*GROW, module=Stateful()))
    assert "OUT_OF_MEMORY" == reason, message


CRASHES = {
    "a division that the processor refuses": [
        "n = torch.floordiv(torch.sub(torch.neg(9223372036854775807), torch.size(x, 1) - 7), -1)",
        "place = torch.add(place, n)",
    ],
    "parentheses without end": ["n = " + "(" * 200_000 + "1" + ")" * 200_000],
}


@pytest.mark.parametrize("attack", CRASHES)
def test_a_crash_is_told_and_not_retried(patient: Patient, attack: str) -> None:
    diagnosis = patient.diagnose(with_code(*CRASHES[attack]))
    assert "died from SIG" in diagnosis.failure.message, diagnosis
    assert 1 == diagnosis.attempt


def test_a_flood_of_output_is_drained(patient: Patient) -> None:
    lines = ["for i in range(20000):", f'  print("{"noise" * 1000}")']
    assert patient.diagnose(with_code(*lines)).HasField("result")


def test_an_error_message_without_end_is_cut(patient: Patient) -> None:
    lines = ['s = "0123456789"', "for i in range(18):", "  s = torch.add(s, s)", "ops.prim.RaiseException(s)"]
    reason, message = patient.failure(with_code(*lines))
    assert reason in {"FORWARD_ERROR", "BAD_ARCHIVE", "INTERNAL"}
    assert len(message) < 100_000


CALLS_ITSELF = ["place = self.forward(x)"]


def test_a_model_that_calls_itself_is_told(patient: Patient) -> None:
    reason, message = patient.failure(with_code(*CALLS_ITSELF))
    assert reason in {"BAD_ARCHIVE", "FORWARD_ERROR", "EXECUTOR_CRASHED"}, message


@pytest.mark.parametrize("count", [3_000, 100_000])
def test_a_graph_of_many_sites_ends(patient: Patient, count: int) -> None:
    diagnosis = patient.diagnose(with_code(*["place = torch.add(place, 1)"] * count), timeout_seconds=8)
    if not diagnosis.HasField("result"):
        assert diagnosis_pb2.FailureReason.Name(diagnosis.failure.reason) in {
            *("FAILURE_REASON_TIMED_OUT", "FAILURE_REASON_OUT_OF_MEMORY", "FAILURE_REASON_EXECUTOR_CRASHED")
        }, diagnosis.failure
    assert diagnosis.ByteSize() < 4 * 2**20


def test_a_loop_of_many_turns_ends(patient: Patient) -> None:
    lines = ["for i in range(3000000):", "  place = torch.add(place, 1)"]
    reason, message = patient.failure(with_code(*lines), timeout_seconds=5)
    assert reason in {"TIMED_OUT", "OUT_OF_MEMORY"}, message


def test_no_process_and_no_file_is_left(patient: Patient) -> None:
    patient.next_job_is_unaffected()
    zygote = patient.worker.child("zygote_process")
    patient.worker.await_true(lambda: len(zygote.children(recursive=True)) == 1, 10.0)  # the spare
    assert not Path(LEFTOVER).exists()


UNVETTED = {
    "reads a file": [READ],
    "writes a file": [f'place = torch.from_file("{LEFTOVER}", True, 8)'],
}


@pytest.mark.parametrize("attack", UNVETTED)
def test_the_cage_alone_keeps_files_shut(unvetted: Patient, attack: str) -> None:
    reason, message = unvetted.failure(with_code(*UNVETTED[attack]))
    assert ("FORBIDDEN_OPERATOR", True) == (reason, "Permission denied" in message), message
    unvetted.next_job_is_unaffected()
    assert not Path(LEFTOVER).exists()


class Refusing(torch.nn.Module):
    def __init__(self, said: str) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 3)
        self.said = said

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] > 1:
            raise ValueError(self.said)
        out: torch.Tensor = self.layer(x)
        return out


@pytest.mark.parametrize(
    "said",
    ["Permission denied (13)", "unable to open file </etc/passwd> in read-only mode: Permission denied (13)"],
)
def test_what_a_model_raises_is_its_own_business(patient: Patient, said: str) -> None:
    reason, message = patient.failure(saved(Refusing(said)))
    assert ("FORWARD_ERROR", True) == (reason, said in message), message


def test_a_graph_of_a_million_operations_is_contained(patient: Patient) -> None:
    archive = with_code(*["place = place + 1"] * 1_000_000)
    began = time.monotonic()
    reason, message = patient.failure(archive, timeout_seconds=15)
    assert reason in {"TIMED_OUT", "OUT_OF_MEMORY", "BAD_ARCHIVE"}, message
    assert time.monotonic() - began < 40.0
