"""Diagnoses cancelled at every stage, workers and APIs restarted one by one, and models that attack their process."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from chaos.caller import Caller
from chaos.ledger import Broken
from chaos.oracles import check
from chaos.stages import STAGES, running
from gradclinic.v1 import diagnosis_pb2

if TYPE_CHECKING:
    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

CANCELLED = diagnosis_pb2.DIAGNOSIS_STATE_CANCELLED
STOPS_WITHIN_SECONDS = 2.0
BETWEEN_SUBMISSIONS_SECONDS = 0.3
HOSTILE = ("write_file", "dial", "overwrite", "segfault", "abort", "leave", "oversize", "garbage", "flood", "too_much")
ESCAPE_FILE = Path("/tmp/gradclinic-must-not-appear")  # what `write_file` tries to write
ESCAPED_NOTES = {"written", "connected", "changed"}


def cancel(deployment: Deployment, ledger: Ledger) -> None:
    """Cancel a diagnosis at each stage; what runs must stop within two seconds."""
    with Caller(deployment.target, ledger) as caller:
        for stage in ("queued", "popped", "leased", "storing", "stored"):
            ledger.doing = f"cancel while {stage}"
            with STAGES[stage](deployment, caller) as release:
                for diagnosis_id in ledger.open():
                    caller.cancel(diagnosis_id)
                release()
            _judge(deployment, caller)
        for stage in ("forward", "backward"):
            ledger.doing = f"cancel while {stage}"
            with running(deployment, caller, stage, "endless"):
                executor = deployment.find("executor")
                (diagnosis_id,) = ledger.open()
                asked_at = time.monotonic()
                caller.cancel(diagnosis_id)
                _await_end(executor, caller, asked_at)
            _judge(deployment, caller)


def _await_end(executor: psutil.Process, caller: Caller, asked_at: float) -> None:
    try:
        executor.wait(timeout=10.0)
    except psutil.TimeoutExpired:
        caller.ledger.broke(Broken.LATE, "a cancelled run goes on")
    took_seconds = time.monotonic() - asked_at
    caller.ledger.details["cancel_seconds"] = max(took_seconds, caller.ledger.details.get("cancel_seconds", 0.0))
    if took_seconds > STOPS_WITHIN_SECONDS:
        caller.ledger.broke(Broken.LATE, f"a cancelled run went on for {took_seconds:.1f} s")


def _judge(deployment: Deployment, caller: Caller) -> None:
    for diagnosis_id in caller.ledger.open():
        diagnosis = caller.final(diagnosis_id)
        if diagnosis is not None and diagnosis.state != CANCELLED:
            caller.ledger.broke(Broken.LOST, f"a cancel that was confirmed had no effect on {diagnosis_id}")
    check(deployment, caller, may_fail=True)
    caller.ledger.faults[caller.ledger.doing] += 1


def restart(deployment: Deployment, ledger: Ledger) -> None:
    """Restart every process in turn while diagnoses go on coming: none is lost, and none costs an attempt."""
    stop = threading.Event()
    with Caller(deployment.target, ledger) as caller:

        def submit() -> None:
            while not stop.wait(BETWEEN_SUBMISSIONS_SECONDS):
                caller.create("stages")

        submitting = threading.Thread(target=submit)
        submitting.start()
        try:
            for number in range(len(deployment.workers)):
                ledger.doing = f"worker {number} restarted"
                deployment.workers[number].stop()
                deployment.mend()
                ledger.faults["worker restarted, jobs in flight"] += 1
            for _ in range(2):
                ledger.doing = "API restarted"
                deployment.api.stop()
                deployment.mend()
                ledger.faults["API restarted, jobs in flight"] += 1
            deployment.redis.restart(signal.SIGTERM)
            ledger.faults["Redis restarted, jobs in flight"] += 1
        finally:
            stop.set()
            submitting.join()
        check(deployment, caller)
        ledger.details["attempts lost"] = float(deployment.store.counters.read().lost)


def attack(deployment: Deployment, ledger: Ledger) -> None:
    """Run models that try to get out of their process, or to bring it down."""
    began = time.time()
    with Caller(deployment.target, ledger) as caller:
        for body in HOSTILE:
            ledger.doing = body
            diagnosis_id = caller.create(body, model=body.encode())
            diagnosis = caller.final(diagnosis_id)
            if diagnosis is not None and ESCAPED_NOTES & set(diagnosis.result.notes):
                ledger.broke(Broken.ESCAPED, f"a model got out: {diagnosis.result.notes}")
            caller.create("answer")
            check(deployment, caller, may_fail=True)
            ledger.faults["model attacks its process"] += 1
    if ESCAPE_FILE.exists() and ESCAPE_FILE.stat().st_mtime >= began:
        ledger.broke(Broken.ESCAPED, "a model wrote a file")
