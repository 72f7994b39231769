"""The README's example does what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from real_stack import RealStack

README = Path(__file__).parents[2] / "README.md"


def test_the_python_example_prints_what_the_readme_says(stack: RealStack) -> None:
    text = README.read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (promised,) = re.findall(r"It prints `(.*?)`", text)
    printed = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, "GRADCLINIC_TARGET": stack.target},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert f"{promised}\n" == printed
