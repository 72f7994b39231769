"""Prints what one role of gradclinic needs to be installed, a requirement per line, as pyproject.toml lists it."""

import sys
import tomllib
from pathlib import Path


def requirements(pyproject: Path, role: str) -> list[str]:
    """Returns the requirements of the base install and of the extra named ``role``."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"][role]]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in requirements(Path("pyproject.toml"), sys.argv[1]))
