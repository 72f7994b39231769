"""Each part of a deployment killed, ended and stopped at each stage of a diagnosis."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from chaos.caller import Caller
from chaos.ledger import Broken
from chaos.oracles import check, events_key
from chaos.stages import STAGES

if TYPE_CHECKING:
    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP)
STOPPED_SECONDS = 2.5  # longer than a lease
SETTLE_SECONDS = 0.2  # between a death and what was held going on
BACK_WITHIN_SECONDS = 15.0  # a lost diagnosis is in the queue again
QUEUED = b"1"
TRUSTED = ("supervisor", "queue", "worker", "api", "redis")
# A zygote takes seconds to come back, so it dies only where an executor is awaited or at work.
PARTS_AT = {
    "uploading": ("api", "redis"),
    "accepting": ("api", "redis"),
    "queued": ("queue", "worker", "api", "redis"),
    "popped": TRUSTED,
    "leased": ("zygote", *TRUSTED),
    "forward": ("executor", "zygote", *TRUSTED),
    "backward": ("executor", *TRUSTED),
    "storing": TRUSTED,
    "stored": TRUSTED,
}


def play(stage: str, deployment: Deployment, ledger: Ledger) -> None:
    """Every part that matters at a stage, with every signal."""
    with Caller(deployment.target, ledger) as caller:
        for part in PARTS_AT[stage]:
            for signum in SIGNALS:
                breaches = len(ledger.breaches)
                ledger.doing = f"{stage} {part} {signum.name}"
                strike(stage, part, signum, deployment, caller)
                check(deployment, caller)
                ledger.faults[ledger.doing] += 1
                for breach in ledger.breaches[breaches:]:
                    ledger.details[f"{ledger.doing} {breach.promise}"] = 1.0


def strike(stage: str, part: str, signum: signal.Signals, deployment: Deployment, caller: Caller) -> None:
    """Bring a diagnosis to a stage, send a part a signal there, and have everything go on."""
    with STAGES[stage](deployment, caller) as release:
        victim = deployment.find(part)
        struck_at = time.time()
        victim.send_signal(signum)
        if signum == signal.SIGSTOP:
            time.sleep(STOPPED_SECONDS)
            release()
            victim.send_signal(signal.SIGCONT)
        else:
            _await_end(victim, part)
            time.sleep(SETTLE_SECONDS)
            release()
            deployment.mend()
    _note_return(deployment, caller, struck_at)


def _await_end(victim: psutil.Process, part: str) -> None:
    """A killed process is dead at once; one that was asked may hold on while it drains."""
    with suppress(psutil.TimeoutExpired):
        victim.wait(timeout=1.0 if part in {"supervisor", "executor"} else 15.0)


def _note_return(deployment: Deployment, caller: Caller, struck_at: float) -> None:
    """Note how long each diagnosis that was lost took to be back in the queue."""
    ledger = caller.ledger
    client: Any = deployment.store.connection.client
    for diagnosis_id in ledger.open():
        caller.final(diagnosis_id)
        for _, fields in client.xrange(events_key(diagnosis_id)):
            back_seconds = int(fields[b"time_ms"]) / 1000 - struck_at
            if fields[b"state"] == QUEUED and int(fields[b"attempt"]) > 0 and back_seconds > 0:
                ledger.details["back_seconds"] = max(back_seconds, ledger.details.get("back_seconds", 0.0))
                if back_seconds > BACK_WITHIN_SECONDS:
                    ledger.broke(Broken.LATE, f"{diagnosis_id} was queued again after {back_seconds:.1f} s")
