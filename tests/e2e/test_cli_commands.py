"""The command line against a real stack: what it prints and how it exits."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gradclinic.demo.broken import DetachedEncoder
from real_stack import GRADCLINIC, clean_environment

if TYPE_CHECKING:
    from pathlib import Path

    from real_stack import RealStack

TIMEOUT_SECONDS = 90
WIDTH_COLUMNS = 100


@dataclass(frozen=True)
class Files:
    """One broken model with a batch."""

    model: str
    inputs: str
    target: str

    @property
    def request(self) -> tuple[str, ...]:
        return ("diagnose", self.model, "--inputs", self.inputs, "--target", self.target, "--loss", "cross_entropy")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    torch.manual_seed(3)
    torch.jit.script(DetachedEncoder()).save(str(tmp_path / "model.pt"))
    save_file({"0": torch.randn(8, 3, 16, 16)}, tmp_path / "inputs.safetensors")
    np.save(tmp_path / "target.npy", np.arange(8) % 4)
    return Files(*(str(tmp_path / name) for name in ("model.pt", "inputs.safetensors", "target.npy")))


def run(stack: RealStack, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(GRADCLINIC), *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env={**clean_environment(), "GRADCLINIC_TARGET": stack.target, **environment},
        check=False,
    )


def run_json(stack: RealStack, *arguments: str) -> Any:
    done = run(stack, *arguments, "--json")
    assert 0 == done.returncode, done.stderr
    return json.loads(done.stdout)


def test_diagnose_prints_a_report_that_fits(stack: RealStack, files: Files) -> None:
    done = run(stack, *files.request, "--no-reuse")
    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith("CRITICAL  1 critical")
    assert "detached-graph" in done.stdout
    assert "> features = self.encoder(images).detach()" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= WIDTH_COLUMNS
    assert "\x1b" not in done.stdout + done.stderr
    assert "uploading model" in done.stderr
    assert "queued" in done.stderr


def test_fail_on_sets_the_exit_code(stack: RealStack, files: Files) -> None:
    assert 1 == run(stack, *files.request, "--fail-on", "critical").returncode
    assert 1 == run(stack, *files.request, "--fail-on", "warning").returncode


def test_json_is_the_whole_diagnosis(stack: RealStack, files: Files) -> None:
    diagnosis = run_json(stack, *files.request, "--quiet", "--label", "team=a", "--run", "r1", "--step", "3")
    assert ["detached-graph"] == [f["code"] for f in diagnosis["findings"] if f["severity"] == "CRITICAL"]
    assert ({"team": "a"}, "r1", 3) == tuple(diagnosis["spec"][key] for key in ("labels", "run", "step"))
    assert diagnosis["sites"]
    shown = run_json(stack, "show", diagnosis["id"])
    assert diagnosis["findings"] == shown["findings"]


def test_list_finds_by_label_and_verdict(stack: RealStack, files: Files, tmp_path: Path) -> None:
    label = f"test={tmp_path.name}"
    diagnosis = run_json(stack, *files.request, "--label", label)
    found = run_json(stack, "list", "--label", label, "--verdict", "critical")
    assert [diagnosis["id"]] == [item["id"] for item in found["diagnoses"]]
    assert [] == run_json(stack, "list", "--label", label, "--verdict", "healthy")["diagnoses"]
    table = run(stack, "list", "--label", label).stdout
    assert diagnosis["id"] in table
    assert "detached-graph" in table
    assert max(map(len, table.splitlines())) <= WIDTH_COLUMNS
    assert "no diagnoses\n" == run(stack, "list", "--run", "there is none").stdout


def test_watch_and_cancel_and_delete(stack: RealStack, files: Files) -> None:
    accepted = run_json(stack, *files.request, "--wait", "0", "--no-reuse")
    watched = run(stack, "watch", accepted["id"])
    assert 0 == watched.returncode
    assert watched.stdout.startswith("CRITICAL")
    cancelled = run(stack, "cancel", accepted["id"])
    assert f"SUCCEEDED  diagnosis {accepted['id']}\n" == cancelled.stdout
    assert f"deleted diagnosis {accepted['id']}\n" == run(stack, "delete", accepted["id"]).stdout
    gone = run(stack, "show", accepted["id"])
    assert 2 == gone.returncode
    assert gone.stderr.startswith("Error: ")


def test_a_failed_diagnosis_exits_with_3_and_says_why(stack: RealStack, files: Files, tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"no archive at all")
    done = run(stack, "diagnose", str(tmp_path / "broken.pt"), "--inputs", files.inputs)
    assert 3 == done.returncode
    assert "BAD_ARCHIVE" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("diagnose",), "Missing argument"),
        (("diagnose", "absent.pt", "--inputs", "x"), "does not exist"),
        (("frobnicate",), "No such command"),
        (("show", "no-such-id"), "Error"),
        (("list", "--state", "odd"), "odd"),
        (("list", "--page-token", "odd"), "Error"),
    ],
)
def test_usage_exits_with_2(stack: RealStack, arguments: tuple[str, ...], message: str) -> None:
    done = run(stack, *arguments)
    assert 2 == done.returncode
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--loss", "cross_entropie"), "cross_entropie"),
        (("--loss", "cross_entropy", "--loss-option", "reduction=none"), "'mean' or 'sum'"),
        (("--loss-option", "novalue"), "KEY=VALUE"),
        (("--optimizer-option", "lr=1"), "needs --optimizer"),
        (("--optimizer", "sgd", "--optimizer-option", "rate=1"), "has no setting 'rate'"),
        (("--output", "logits"), "output: is not used without a loss"),
        (("--inputs", "absent.safetensors"), "absent.safetensors"),
        (("--depth", "odd"), "odd"),
    ],
)
def test_wrong_options_exit_with_2(stack: RealStack, files: Files, options: tuple[str, ...], message: str) -> None:
    done = run(stack, "diagnose", files.model, "--inputs", files.inputs, *options)
    assert 2 == done.returncode, done.stdout + done.stderr
    assert message in done.stderr


def test_an_unreachable_service_exits_with_3(stack: RealStack) -> None:
    done = run(stack, "list", "--server", "localhost:1")
    assert 3 == done.returncode
    assert "Error: no gradclinic service at localhost:1: Connection refused" in done.stderr


def test_a_closed_pipe_is_no_error(stack: RealStack, files: Files) -> None:
    command = f"{GRADCLINIC} {' '.join(files.request)} --json | head -n 1"
    environment = {**clean_environment(), "GRADCLINIC_TARGET": stack.target}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment, check=True)
    assert "{\n" == done.stdout
    assert "Traceback" not in done.stderr


def test_bars_are_drawn_on_a_terminal(stack: RealStack, tmp_path: Path, files: Files) -> None:
    model = nn.Sequential(nn.Linear(16, 2048), nn.Tanh(), nn.Linear(2048, 2048), nn.Tanh(), nn.Linear(2048, 4))
    torch.jit.script(model).save(str(tmp_path / "large.pt"))
    save_file({"0": torch.randn(8, 16)}, tmp_path / "small.safetensors")
    ours, theirs = pty.openpty()
    environment = {**clean_environment(), "GRADCLINIC_TARGET": stack.target, "TERM": "xterm-256color", "COLUMNS": "100"}
    arguments = [
        str(GRADCLINIC),
        "diagnose",
        str(tmp_path / "large.pt"),
        "--inputs",
        str(tmp_path / "small.safetensors"),
    ]
    process = subprocess.Popen(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, env=environment
    )
    os.close(theirs)
    shown = b""
    while select.select([ours], [], [], TIMEOUT_SECONDS)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the terminal is closed by its last user
            break
    os.close(ours)
    assert 0 == process.wait()
    assert b"uploading model" in shown
    assert b"MiB of 16" in shown
    assert "━".encode() in shown
    del files


def test_help_names_every_command_without_loading_it() -> None:
    done = subprocess.run([str(GRADCLINIC), "--help"], capture_output=True, text=True, check=True)
    for command in ("up", "demo", "diagnose", "show", "list", "watch", "cancel", "explain", "serve", "work"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", ["up", "demo", "diagnose", "show", "list", "watch", "cancel", "serve", "work"])
def test_every_command_has_help(command: str) -> None:
    done = subprocess.run([str(GRADCLINIC), command, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"Usage: gradclinic {command}")


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    (tmp_path / "redis.py").write_text("raise ModuleNotFoundError(\"No module named 'redis'\", name='redis')")
    environment = {**clean_environment(), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [str(GRADCLINIC), "serve", "--help"], capture_output=True, text=True, env=environment, check=False
    )
    assert 3 == done.returncode
    assert "needs redis, which is not installed: pip install 'gradclinic[service]'" in done.stderr
