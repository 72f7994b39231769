"""Generates the blocking client from the asynchronous one; with --check it only compares.

unasync drops `async` and `await` and exchanges names; ruff formats what is left.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

PACKAGE = Path(__file__).parent.parent / "client" / "gradclinic"
SOURCE, GENERATED = PACKAGE / "aio.py", PACKAGE / "client.py"
FIRST_LINE = '"""The blocking client. Generated from aio.py by `make client`: edit that."""'
NAMES = {
    "AsyncClient": "Client",
    "AsyncHandle": "Handle",
    "AsyncMethod": "Method",
    "aiter": "iter",
    "asyncio": "time",  # asyncio.sleep
    "open_async_channel": "open_channel",
    "prepare_async": "prepare",
}


def main() -> int:
    """Writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where something is stale")
    content = blocking(SOURCE.read_text(encoding="utf-8"))
    if parser.parse_args().check:
        if content != GENERATED.read_text(encoding="utf-8"):
            print(f"{GENERATED.name} is not what {SOURCE.name} gives; run `make client`")
            return 1
        return 0
    GENERATED.write_text(content, encoding="utf-8")
    return 0


def blocking(source: str) -> str:
    """The source of the blocking client."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder, "async", SOURCE.name)
        written.parent.mkdir()
        written.write_text(FIRST_LINE + source[source.index("\n") :], encoding="utf-8")
        unasync.unasync_files([str(written)], [unasync.Rule("/async/", "/blocking/", NAMES)])
        text = Path(folder, "blocking", SOURCE.name).read_text(encoding="utf-8")
    for step in (["check", "--fix-only", "--quiet", "--fixable", "I,RUF100"], ["format", "--quiet"]):
        text = _ruff(step, text)
    return text


def _ruff(arguments: list[str], text: str) -> str:
    """What ruff makes of a text with the project's settings."""
    command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(GENERATED), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=PACKAGE).stdout


if __name__ == "__main__":
    sys.exit(main())
