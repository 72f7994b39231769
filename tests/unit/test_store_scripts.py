"""The Lua scripts agree with the contract and with the Python beside them."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from gradclinic.v1 import diagnosis_pb2
from gradclinic_store.connection import source
from gradclinic_store.counters import EDGES_SECONDS, OUTCOMES

PRELUDE = (resources.files("gradclinic_store") / "lua" / "prelude.lua").read_text(encoding="utf-8")
SCRIPTS = sorted(
    script.name.removesuffix(".lua")
    for script in (resources.files("gradclinic_store") / "lua").iterdir()
    if script.name != "prelude.lua"
)


def test_states_are_the_contracts() -> None:
    names, numbers = re.findall(r"local (QUEUED, .*?) = (.*)", PRELUDE)[0]
    ours = dict(zip(names.split(", "), (int(n.strip("'")) for n in numbers.split(", ")), strict=True))
    contract = {
        name.removeprefix("DIAGNOSIS_STATE_"): number
        for name, number in diagnosis_pb2.DiagnosisState.items()
        if number != diagnosis_pb2.DIAGNOSIS_STATE_UNSPECIFIED
    }
    assert ours == contract


def test_legal_transitions() -> None:
    table = re.findall(r"\['(\d)'\] = \{((?:\['\d'\] = true,? ?)+)\}", PRELUDE)
    legal = {(int(a), int(b)) for a, targets in table for b in re.findall(r"\d", targets)}
    queued, running, succeeded, failed, cancelled, expired = range(1, 7)
    assert legal == {
        *((queued, to) for to in (running, failed, cancelled, expired)),
        *((running, to) for to in (queued, succeeded, failed, cancelled)),
    }


def test_histogram_edges_are_the_same_on_both_sides() -> None:
    edges_ms = re.findall(r"local EDGES_MS = \{(.*)\}", PRELUDE)[0]
    assert tuple(int(edge) / 1000 for edge in edges_ms.split(", ")) == EDGES_SECONDS


def test_outcomes_are_the_final_states() -> None:
    names = dict(re.findall(r"\['(\d)'\] = '(\w+)'", PRELUDE))
    final = re.findall(r"local FINAL = \{(.*)\}", PRELUDE)[0]
    assert tuple(names[number] for number in re.findall(r"\d", final)) == OUTCOMES


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_says_what_it_does(script: str) -> None:
    own = own_source(script)
    assert own.startswith("-- ")
    assert "-- ARGV:" in own


def own_source(script: str) -> str:
    """Return the part of a script that it shares with no other."""
    return source(script).removeprefix(f"{PRELUDE}\nlocal function run()\n")


ONLY_NEW_WORK = {"create", "upload_begin", "upload_append", "upload_finish", "artifact_touch"}
READS = {"ZSCORE", "EXISTS", "GET", "HGET", "HEXISTS", "ZRANGE", "ZCARD"}
ONLY_READ = {"fetch", "over", "page"}


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - ONLY_NEW_WORK - ONLY_READ))
def test_a_full_redis_refuses_only_new_work(script: str) -> None:
    calls = re.findall(r"redis\.call\('(\w+)'|(go_on_when_full|move|drop_artifact|drop_part)\(", own_source(script))
    first_write = next(name for call, own in calls if (name := own or call) not in READS)
    assert first_write in {
        "go_on_when_full",
        "move",
        "ZREM",
        "drop_artifact",
        "drop_part",
    }  # the latter begin with a ZREM
