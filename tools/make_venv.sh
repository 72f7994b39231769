#!/bin/sh
# Makes a virtual environment at $1 with the first Python from 3.11 on that can.
set -eu

for candidate in ${PYTHON:-} python3.11 python3 python3.12 python3.13 python3.14; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "Making $1 with $("$candidate" --version)"
        exec "$candidate" -m venv "$1"
    fi
done

echo "No Python from 3.11 on with venv and ensurepip was found. Install one (on Debian: python3-venv)," >&2
echo "or name it: make PYTHON=/path/to/python3.11 ..." >&2
exit 1
