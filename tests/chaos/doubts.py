"""Commands that Redis executed while the caller was told otherwise, or never got; and the same request many times."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from chaos.caller import Caller
from chaos.ledger import Broken
from chaos.oracles import check
from chaos.stages import trapped
from redis_proxy import Fate

if TYPE_CHECKING:
    from chaos.deployment import Deployment
    from chaos.ledger import Ledger

DUPLICATES = 100
TIMES = 2  # a retry meets the same
LATE_SECONDS = 5.5  # longer than the store waits for an answer
OF_API = ("artifact_touch", "upload_begin", "upload_append", "upload_finish", "create", "RPUSH")
OF_WORKER = ("start", "fetch", "progress", "renew", "succeed", "BLMOVE", "HGETALL")
LATE_OF_API = ("create", "upload_finish")
LATE_OF_WORKER = ("start", "succeed")


def play(deployment: Deployment, ledger: Ledger) -> None:
    """Lose commands and answers of each kind; then send one request a hundred times at once."""
    with Caller(deployment.target, ledger) as caller:
        caller.create("answer")
        check(deployment, caller)
        for fate in (Fate.LOSE_COMMAND, Fate.LOSE_ANSWER):
            for mark in OF_API + OF_WORKER:
                _lose(deployment, caller, mark, fate)
        for mark in LATE_OF_API + LATE_OF_WORKER:
            _delay(deployment, caller, mark)
        _duplicates(deployment, caller)


def _lose(deployment: Deployment, caller: Caller, mark: str, fate: Fate) -> None:
    caller.ledger.doing = f"{mark}: {fate.value}"
    proxy = deployment.api_proxy if mark in OF_API else deployment.worker_proxy
    body = "stages" if mark in {"progress", "renew"} else "answer"
    with trapped(proxy, mark, fate, TIMES) as (spring, _):
        caller.upload(os.urandom(6 << 20))
        caller.create(body)
        spring()
        for diagnosis_id in caller.ledger.open():
            caller.final(diagnosis_id)
    caller.ledger.faults[f"{fate.value}"] += 1
    check(deployment, caller)


def _delay(deployment: Deployment, caller: Caller, mark: str) -> None:
    caller.ledger.doing = f"{mark}: executed, the caller was told of a timeout"
    proxy = deployment.api_proxy if mark in LATE_OF_API else deployment.worker_proxy
    with ThreadPoolExecutor(1) as aside, trapped(proxy, mark, Fate.HOLD_ANSWER) as (spring, release):
        calling = aside.submit(lambda: (caller.upload(os.urandom(1 << 20)), caller.create("answer")))
        spring()
        time.sleep(LATE_SECONDS)
        release()
        calling.result()
    caller.ledger.faults["executed, the caller was told of a timeout"] += 1
    check(deployment, caller)


def _duplicates(deployment: Deployment, caller: Caller) -> None:
    caller.ledger.doing = "duplicates"
    request_id = str(uuid.uuid4())
    with (
        ThreadPoolExecutor(DUPLICATES) as callers,
        trapped(deployment.api_proxy, "create", Fate.LOSE_ANSWER, DUPLICATES // 10),
    ):
        ids = set(callers.map(lambda _: caller.create("stages", request_id=request_id), range(DUPLICATES)))
    if len(ids) != 1:
        caller.ledger.broke(Broken.TWICE, f"{DUPLICATES} equal requests made {len(ids)} diagnoses")
    caller.ledger.faults[f"{DUPLICATES} equal requests at once"] += 1
    check(deployment, caller)
