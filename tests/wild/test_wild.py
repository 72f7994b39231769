"""Every wild architecture gets a diagnosis: none is refused, and none meets a defect of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

pytest.importorskip("wild.architecture", reason="`make wild` installs what architectures are made with")

from gradclinic.v1 import finding_pb2
from wild.architecture import architectures
from zoo import run

if TYPE_CHECKING:
    from zoo.case import Case

pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own warnings say nothing about us


@pytest.mark.parametrize("case", [pytest.param(each, id=f"{each.family}.{each.name}") for each in architectures()])
def test_an_architecture_is_diagnosed(case: Case) -> None:
    torch.manual_seed(run.SEED)
    result = run.diagnose(case, case.build(), "standard")
    assert finding_pb2.VERDICT_UNSPECIFIED != result.verdict
    assert result.sites
