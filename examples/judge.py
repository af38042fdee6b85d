#!/usr/bin/env python3
"""Compiles FOLDER/model.onnx and checks its accuracy on the inputs that FOLDER/data.py makes.

    judge.py FOLDER PERCENT    passes if at most 0.5 points fewer than PERCENT are right

HONE is the command (default: the release build's); results go to build/examples/. Needs NumPy, and what
data.py needs, without which it skips. Where ONNX Runtime can be imported, logits are compared too."""
import importlib.util
import os
import subprocess
import sys

import numpy as np

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "python"))

import hone

LEAST, BATCH, ALONE, SLACK = 1000, 128, 200, 0.5


def load(folder, split):
    with np.load(os.path.join(folder, f"{split}.npz")) as file:
        inputs = {name: file[name] for name in file.files}
    return inputs, np.load(os.path.join(folder, f"{split}-labels.npy"))


def rows(inputs, begin, end):
    """These rows of each input, without the columns that are padding in all of them."""
    part = [array[begin:end] for array in inputs.values()]
    if "mask" in inputs:
        length = int(inputs["mask"][begin:end].sum(1).max())
        part = [np.ascontiguousarray(array[:, :length]) for array in part]
    return part


def logits_of(run, inputs, count, batch):
    return np.concatenate([run(rows(inputs, at, min(at + batch, count))) for at in range(0, count, batch)])


def peer(path, names):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda part: session.run(None, dict(zip(names, part)))[0]


def check(folder, out, percent):
    """The facts that must hold, as (what, whether)."""
    held, labels = load(out, "heldout")
    calibration, _ = load(out, "calibration")
    count = len(labels)
    library = os.path.join(out, "model.so")
    path = os.path.join(folder, "model.onnx")
    subprocess.run([os.environ.get("HONE", os.path.join(TOP, "build/release/bin/hone")), "compile", path,
                    "-o", library], check=True)
    model = hone.Model(library)

    def compiled(part):
        return model(*part)[0].copy()

    logits = logits_of(compiled, held, count, BATCH)
    alone = logits_of(compiled, held, ALONE, 1)
    right = 100 * (logits.argmax(1) == labels).mean()
    first = next(iter(held))
    common = {row.tobytes() for row in held[first]} & {row.tobytes() for row in calibration[first]}
    yield f"{count} held-out and {len(calibration[first])} calibration inputs, none in both", \
        min(count, len(calibration[first])) >= LEAST and not common
    yield f"{right:.2f} % of the held-out inputs right, recorded {percent:.2f}", right >= percent - SLACK
    error = np.abs(alone - logits[:ALONE]).max()
    yield f"logits of {ALONE} inputs one by one differ by {error:.2g}", error <= 1e-3
    if importlib.util.find_spec("onnxruntime"):
        error = np.abs(logits_of(peer(path, list(held)), held, count, BATCH) - logits).max()
        yield f"logits differ from ONNX Runtime's by {error:.2g}", error <= 1e-3


def main():
    folder = os.path.abspath(sys.argv[1])
    out = os.path.join(TOP, "build/examples", os.path.basename(folder))
    made = subprocess.run([sys.executable, os.path.join(folder, "data.py"), out])
    if made.returncode == 2:
        print("skip: the data that this model is judged on is not installed")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    made.check_returncode()
    facts = list(check(folder, out, float(sys.argv[2])))
    for what, holds in facts:
        print(("ok: " if holds else "FAILED: ") + what)
    failed = sum(not holds for _, holds in facts)
    print(f"{len(facts) - failed} passed, {failed} failed, 0 skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
