"""Exits at a model's own auxiliary outputs: each answers as that output of the full model does."""
import os
import subprocess
import sys

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "python"))
import hone  # noqa: E402


def heads(command, folder, check):
    model, full, exits = f"{here}/heads.hir", f"{folder}/heads-full.so", f"{folder}/heads.so"
    asked = ["--early-exit", "agree=0.5,exits=2,heads=o1,o2", "--calibrate", f"{folder}/heads.npz"]
    random = np.random.default_rng(5)

    def inputs(count):
        return (random.standard_normal((count, 6, 16), dtype=np.float32),
                random.random((count, 6), dtype=np.float32))

    x, m = inputs(400)
    np.savez(f"{folder}/heads.npz", x=x, m=m)
    subprocess.run([command, "compile", model, "-o", full], check=True)
    subprocess.run([command, "compile", model, "-o", exits, *asked], check=True, stderr=subprocess.DEVNULL)
    full, exits = hone.Model(full), hone.Model(exits)
    for rows in (1, 2, 9, 40):
        data = inputs(rows)
        first, answer, second = full(*data)
        y, index, _ = exits(*data)
        chosen = np.stack([first, second, answer])[index, np.arange(rows)]
        check(f"heads: {rows} rows answer as the output of their exit", np.allclose(y, chosen, rtol=1e-4, atol=1e-5))
        for at, wanted in ((0, first), (1, second), (2, answer)):
            for i in range(2):
                exits.set_param(f"exit.{i}.threshold", 2 if i < at else 0)
            y, index, _ = exits(*data)
            check(f"heads: {rows} rows at exit {at}", (index == at).all() and np.allclose(y, wanted, rtol=1e-4, atol=1e-5))
        for i in range(2):
            exits.set_param(f"exit.{i}.threshold", 0.5)
    refused = subprocess.run([command, "compile", model, "-o", f"{folder}/no.so", *asked[:1], "agree=0.5", *asked[2:]],
                             stderr=subprocess.PIPE, text=True)
    check(f"several outputs: {refused.stderr}", refused.returncode == 3 and refused.stderr.count("error:") == 1 and
          "3 outputs (o1, y, o2)" in refused.stderr and "heads=" in refused.stderr)
    for name, message in (("none", 'output "none" is not there'), ("o1", "expected one output besides the heads")):
        refused = subprocess.run([command, "compile", model, "-o", f"{folder}/no.so", "--early-exit", f"heads={name}",
                                  "--calibrate", f"{folder}/heads.npz"], stderr=subprocess.PIPE, text=True)
        check(f"heads={name}: one clear error", refused.returncode == 3 and message in refused.stderr)
