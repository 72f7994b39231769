#!/bin/sh
# Fills deploy/wheelhouse with every wheel that the images need, by the pip settings of this machine, so that
# `docker build --build-arg PIP_NO_INDEX=1` needs no package index. Wants the Python version of the images; arguments
# are further requirements, for example of an image whose Python has another patch level.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3.11}

# shellcheck disable=SC2046 # one word per requirement is wanted
"$python" -m pip download --quiet --only-binary :all: --dest deploy/wheelhouse -c constraints.txt "$@" \
    $("$python" deploy/requirements.py service s3 | tr -d ' ') \
    $("$python" deploy/requirements.py worker s3 | tr -d ' ') \
    $("$python" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])')
echo "deploy/wheelhouse: $(find deploy/wheelhouse -name '*.whl' | wc -l) wheels"
