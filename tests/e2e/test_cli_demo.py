"""`gradclinic demo` against a real stack: five models, each as expected."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from real_stack import GRADCLINIC, clean_environment

if TYPE_CHECKING:
    from real_stack import RealStack

TIMEOUT_SECONDS = 240
WIDTH_COLUMNS = 100


@pytest.mark.timeout(TIMEOUT_SECONDS)
def test_every_model_of_the_demo_is_diagnosed_as_expected(stack: RealStack) -> None:
    done = subprocess.run(
        [str(GRADCLINIC), "demo", "--server", stack.target],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        env=clean_environment(),
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert 5 == done.stdout.count("as expected")
    assert 2 == done.stdout.count("\nHEALTHY  nothing found\n")
    for line in ("y: Tensor = self.activation(self.linear(x))", "features = self.encoder(images).detach()"):
        assert f"> {line}\n" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= WIDTH_COLUMNS
