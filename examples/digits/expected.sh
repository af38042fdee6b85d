#!/bin/sh
# Makes the expected logits again with ONNX Runtime, in a virtual environment below build/, and compares.
set -eu
cd "$(dirname "$0")"
venv=../../build/venv
if [ ! -x $venv/bin/python ] || ! $venv/bin/python -c 'import onnxruntime' 2>/dev/null; then
	python3 -m venv $venv || {
		echo "skip: no virtual environment (Debian: python3-venv)"
		echo "0 passed, 0 failed, 1 skipped"
		exit 0
	}
	$venv/bin/pip install --quiet numpy onnxruntime || {
		echo "skip: pip could not install onnxruntime"
		echo "0 passed, 0 failed, 1 skipped"
		exit 0
	}
fi
if $venv/bin/python expected.py --check; then
	echo "1 passed, 0 failed, 0 skipped"
else
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi
