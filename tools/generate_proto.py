"""Generates the Python of the wire contract; with --check only tells whether the committed one is current."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "client" / "gradclinic" / "v1"
PACKAGE_DOC = '"""The wire contract, generated from proto/gradclinic/v1 by `make proto`; do not edit."""\n'


def generate(destination: Path) -> None:
    """Writes the generated package ``gradclinic/v1`` under ``destination``."""
    scripts = Path(sys.executable).parent  # the plugins of this environment, whatever PATH says
    protos = sorted((ROOT / "proto").glob("gradclinic/v1/*.proto"))
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT / 'proto'}"),
            *(f"--plugin={name}={scripts / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")),
            *(f"--python_out={destination}", f"--grpc_python_out={destination}"),
            *(f"--mypy_out=quiet:{destination}", f"--mypy_grpc_out=quiet:{destination}"),
            *map(str, protos),
        ],
        check=True,
    )
    package = destination / "gradclinic" / "v1"
    for stub in package.glob("*_pb2_grpc.py*"):
        if "add_" not in stub.read_text():  # no service in this file
            stub.unlink()
    (package / "__init__.py").write_text(PACKAGE_DOC)


def contents(folder: Path) -> dict[str, bytes]:
    """The generated files of ``folder`` by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in {".py", ".pyi"}}


def main() -> int:
    """Generates, or checks; the exit status is 1 when the committed code is not current."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true", help="change nothing; fail if something would change")
    check = arguments.parse_args().check
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh = contents(Path(scratch) / "gradclinic" / "v1")
        committed = contents(COMMITTED) if COMMITTED.exists() else {}
        missing, orphaned = fresh.keys() - committed.keys(), committed.keys() - fresh.keys()
        changed = {name for name in fresh.keys() & committed.keys() if fresh[name] != committed[name]}
        if check:
            for kind, names in (("missing", missing), ("changed", changed), ("orphaned", orphaned)):
                for name in sorted(names):
                    print(f"{kind}: {(COMMITTED / name).relative_to(ROOT)} (run `make proto`)")
            return 1 if missing or orphaned or changed else 0
        COMMITTED.mkdir(parents=True, exist_ok=True)
        for name in orphaned:
            (COMMITTED / name).unlink()
        for name, content in fresh.items():
            (COMMITTED / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
