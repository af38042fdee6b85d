#!/bin/bash
# peers.sh: the engines hone is measured against, in a virtual environment below build/. Engines that
# do not install are left out of the tables.
set -eu
cd "$(dirname "$0")/.."
venv=build/bench-venv
[ ! -e $venv/complete ] || exit 0

python3 -m venv $venv
pip="$venv/bin/pip install -q --disable-pip-version-check"
$pip numpy onnx onnxruntime
$pip openvino || echo "note: openvino did not install: its columns stay empty" >&2
touch $venv/complete
