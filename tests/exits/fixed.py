"""Exits of models whose batch is a constant: rows leave one by one, as they do from the same model with a symbolic batch."""
import os
import subprocess
import sys

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "python"))
import hone  # noqa: E402

MIXED = """func @mixed(%x: f32[4,16]) -> (%y: f32[4,5]) {
  %w: f32[16,5] = const random(1)
  %a: f32[4,5] = matmul(%x, %w)
  %s: f32[1,5] = reduce(%a) {kind=sum, axes=[0], keep}
  %y: f32[4,5] = expand(%s) {dims=[4,5]}
  return %y
}
"""


def outputs(model, rows, *inputs):
    """The outputs of a model that takes `rows` rows at a time."""
    parts = [model(*[x[i:i + rows] for x in inputs]) for i in range(0, len(inputs[0]), rows)]
    parts = [part if isinstance(part, (list, tuple)) else [part] for part in parts]
    return [np.concatenate(at) for at in zip(*parts)]


def compile_to(command, model, out, *words):
    done = subprocess.run([command, "compile", model, "-o", out, "--verify-each", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return hone.Model(out)


def judge(check, what, full, exits, count, rows, inputs):
    """Rows that go to the end and, with exits off, all rows have the full model's bits."""
    wanted, = outputs(full, rows, *inputs)
    y, index, confidence = outputs(exits, rows, *inputs)
    print(f"{what}: exits {np.bincount(index)}")
    check(f"{what}: the signature keeps its batch", [o["dims"][0] for o in exits.outputs] == [rows] * 3)
    check(f"{what}: rows leave one by one", any(len(set(index[i:i + rows])) > 1 for i in range(0, len(y), rows)))
    check(f"{what}: the last rows are the full model's", (index == count).any() and
          np.array_equal(y[index == count], wanted[index == count]))
    for i in range(count):
        exits.set_param(f"exit.{i}.threshold", 2)
    off, none, _ = outputs(exits, rows, *inputs)
    check(f"{what}: off is the full model", np.array_equal(off, wanted) and (none == count).all())
    exits.set_param("exit.0.threshold", 0)
    check(f"{what}: forced at the first exit", (outputs(exits, rows, *inputs)[1] == 0).all())
    return wanted, y, index, confidence


def digits(command, top, folder, check):
    model, images = f"{top}/examples/digits/model.onnx", np.load(f"{top}/examples/digits/calibration.npy")
    asked = ["--early-exit", "agree=0.9", "--calibrate", f"{top}/examples/digits/images.npy"]
    images = images[:len(images) // 4 * 4]
    fixed = ["--dim", "N=4"]
    full = compile_to(command, model, folder + "/fixed-full.so", *fixed)
    exits = compile_to(command, model, folder + "/fixed.so", *fixed, *asked)
    free = compile_to(command, model, folder + "/free.so", *asked)
    wanted, y, index, confidence = judge(check, "digits by 4", full, exits, 1, 4, [images])
    check("digits by 4: the class is mostly the model's", (y.argmax(1) == wanted.argmax(1)).mean() > 0.9)
    z, free_index, free_confidence = free(images)
    check("digits by 4: each row leaves where it does from any batch", np.array_equal(index, free_index))
    check("digits by 4: with the same answer", np.allclose(y, z, rtol=1e-4, atol=1e-4) and
          np.allclose(confidence, free_confidence, rtol=1e-4, atol=1e-4))


def constants(command, folder, check):
    """Constants with a row for each sample follow the rows that stay."""
    model, random = here + "/fixed.hir", np.random.default_rng(4)
    np.save(folder + "/fixed.npy", random.standard_normal((400, 6, 16), dtype=np.float32))
    asked = ["--early-exit", "agree=0.98,exits=2", "--calibrate", folder + "/fixed.npy"]
    full = compile_to(command, model, folder + "/rows-full.so")
    exits = compile_to(command, model, folder + "/rows.so", *asked)
    judge(check, "constants of 4 rows", full, exits, 2, 4, [random.standard_normal((400, 6, 16), dtype=np.float32)])


def refused(command, folder, check):
    with open(folder + "/mixed.hir", "w") as file:
        file.write(MIXED)
    done = subprocess.run([command, "compile", folder + "/mixed.hir", "-o", folder + "/mixed.so", "--early-exit", "agree=0.5",
                           "--calibrate", "random:100"], capture_output=True, text=True)
    check(f"a batch that is mixed: {done.stderr}", done.returncode == 3 and done.stderr.count("error:") == 1 and
          "the rows of the constant batch of 4 cannot be followed through this reduce" in done.stderr)


def fixed(command, top, folder, check):
    digits(command, top, folder, check)
    constants(command, folder, check)
    refused(command, folder, check)
