"""Where a finding stands in the gradient flow, as page and plot mark it."""

from __future__ import annotations

import dataclasses

from gradclinic import flow
from gradclinic.records import Diagnosis, Location
from page_cases import SICK


def spot_of(diagnosis: Diagnosis, location: Location, sites: tuple[int, ...] = ()) -> flow.Spot:
    finding = dataclasses.replace(diagnosis.findings[0], location=location, sites=sites, affected=())
    return flow.spots(dataclasses.replace(diagnosis, findings=(finding,)))[0]


def test_a_finding_stands_at_the_very_operations_it_names() -> None:
    twice = dataclasses.replace(SICK.sites[4], index=9)  # the same module, operator and line once more
    diagnosis = dataclasses.replace(SICK, sites=(*SICK.sites, twice))
    assert (8,) == spot_of(diagnosis, twice.location, sites=(9,)).at


def test_an_operation_that_the_answer_left_out_has_no_place() -> None:
    assert () == spot_of(SICK, Location(module="head", op="aten::log"), sites=(77,)).at


def test_a_module_stands_at_all_of_its_operations_or_those_below_it() -> None:
    assert (7,) == spot_of(SICK, Location(module="head")).at
    assert (0, 1) == spot_of(SICK, Location(module="blocks.0")).at


def test_a_parameter_stands_where_its_module_runs() -> None:
    assert (3,) == spot_of(SICK, Location(parameter="blocks.1.fc.weight")).at


def test_inputs_stand_at_the_start_and_losses_at_the_end() -> None:
    assert ("start", ()) == (
        spot_of(SICK, Location(name="input:0"), sites=(0,)).edge,
        spot_of(SICK, Location(name="input:0")).at,
    )
    assert "end" == spot_of(SICK, Location(name="loss")).edge
