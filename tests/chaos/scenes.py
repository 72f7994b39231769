"""All scenes by name, and playing one: in a process of its own, on a deployment of its own."""

from __future__ import annotations

import ctypes
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos import artifacts, crowds, doubts, endings, floods, kills, outages
from chaos.deployment import Deployment
from chaos.ledger import Broken, Ledger
from chaos.oracles import check_popped, strays

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36
LOGS = Path("build/chaos")

SCENES: dict[str, Callable[[Deployment, Ledger], None]] = {
    **{stage: partial(kills.play, stage) for stage in kills.PARTS_AT},
    "doubt": doubts.play,
    "outage": outages.play,
    "cancel": endings.cancel,
    "restart": endings.restart,
    "attack": endings.attack,
    "overload": crowds.overload,
    "loris": crowds.loris,
    "vanish": crowds.vanish,
    "together": artifacts.together,
    "lost": artifacts.lost,
    "distant": artifacts.distant,
    "watches": floods.watches,
    "fat": floods.fat,
}
OPTIONS: dict[str, dict[str, Any]] = {  # of the deployment, by scene
    "restart": {"workers": 2},
    "overload": {"serve": crowds.SERVE},
    "loris": {"serve": crowds.SERVE},
    "vanish": {"serve": crowds.SERVE},
    "distant": {"distant": True},
    "watches": {"serve": floods.FLOOD},
}


def play(name: str) -> Ledger:
    """Play one scene; what goes wrong in it is a breach as well."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # orphans come here, and are found
    ledger = Ledger(name)
    started = time.monotonic()
    try:
        with Deployment(**OPTIONS.get(name, {})) as deployment:
            try:
                SCENES[name](deployment, ledger)
                check_popped(deployment, ledger)
            finally:
                logs = deployment.logs()
        for stray in strays(None):
            ledger.broke(Broken.ESCAPED, f"after the end: {stray}")
    except Exception:  # noqa: BLE001 - a scene that breaks off is told with all others
        ledger.broke(Broken.UNCLEAR, f"the scene broke off: {traceback.format_exc()}")
    ledger.details["seconds"] = round(time.monotonic() - started, 1)
    if ledger.breaches:
        LOGS.mkdir(parents=True, exist_ok=True)
        (LOGS / f"{name}.log").write_text(logs)
    return ledger
