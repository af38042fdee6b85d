"""One library, many sizes: the network of net.hir, compiled once, against NumPy at sizes that include 0, 1 and vector tails."""
import os
import subprocess
import sys
import tempfile

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "python"))
import hone  # noqa: E402


def constant(path, hone_command):
    """The network's weights, as the compiler itself makes them."""
    text = "func @w() -> (%w: f32[3,3,3,8], %b: f32[8]) {\n  %w: f32[3,3,3,8] = const random(1)\n" \
           "  %b: f32[8] = const random(2)\n  return %w, %b\n}\n"
    with open(path + "/w.hir", "w") as f:
        f.write(text)
    subprocess.run([hone_command, "run", path + "/w.hir", "--output", path + "/w.npy", path + "/b.npy"], check=True)
    return np.load(path + "/w.npy"), np.load(path + "/b.npy")


def expected(x, w, b):
    n, height, width, _ = x.shape
    p = np.zeros((n, height + 2, width + 2, 3))
    p[:, 1:-1, 1:-1] = x
    y = np.zeros((n, height, width, 8))
    for i in range(3):
        for j in range(3):
            y += p[:, i:i + height, j:j + width] @ w[i, j].astype(np.float64)
    y = np.maximum(y + b, 0)
    half = y[:, :height // 2 * 2, :width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, 8).max(axis=(2, 4)) \
        if y.size else np.zeros((n, height // 2, width // 2, 8))
    return y, y.sum(axis=(1, 2)) * 0.5, half


def early_exit(folder, command):
    """Thresholds are run-time parameters: 0 lets every row leave, 2 none; between them each row is one or the other."""
    subprocess.run([command, "compile", os.path.join(here, "early_exit.hir"), "-o", folder + "/exit.so"], check=True)
    model = hone.Model(folder + "/exit.so")
    results = []
    for rows in (0, 1, 2, 7, 33):
        x = np.random.default_rng(rows).standard_normal((rows, 4)).astype(np.float32)
        model.set_param("threshold", 0)
        first, none = model(x)
        model.set_param("threshold", 2)
        last, every = model(x)
        model.set_param("threshold", 0.6)
        some, which = model(x)
        want = np.where(which[:, None] == 1, last, first)
        results.append((none == 0).all() and (every == 1).all() and np.array_equal(some, want))
        if not results[-1]:
            print(f"failed: early exit, {rows} rows")
    return results


def attention(folder, command):
    """Lengths of queries and keys from one (decoding) to several blocks; the same bits for two threads as for one."""
    subprocess.run([command, "compile", os.path.join(here, "attention.hir"), "-o", folder + "/attention.so"], check=True)
    models = [hone.Model(folder + "/attention.so", threads=n) for n in (1, 2)]
    results = []
    for batch, queries, keys in ((1, 1, 1), (1, 1, 700), (2, 2, 33), (2, 5, 7), (3, 17, 16), (1, 130, 130), (1, 300, 530), (2, 0, 5)):
        random = np.random.default_rng(queries + keys)
        q, k, v = (random.standard_normal((batch, heads, rows, 16)).astype(np.float32)
                   for heads, rows in ((4, queries), (2, keys), (2, keys)))
        mask = np.where(random.random((batch, keys)) < 0.3, -1e9, 0).astype(np.float32)
        mask[:, 0] = 0
        scores = q.astype(np.float64) @ k.repeat(2, 1).swapaxes(2, 3) * 0.25 + mask[:, None, None]
        weights = np.exp(scores - scores.max(3, keepdims=True))
        want = (weights / weights.sum(3, keepdims=True)) @ v.repeat(2, 1)
        want = want.transpose(0, 2, 1, 3).reshape(batch, queries, 64)
        (one,), (two,) = (model(q, k, v, mask) for model in models)
        results.append(np.allclose(one, want, rtol=1e-4, atol=1e-5) and np.array_equal(one, two))
        if not results[-1]:
            print(f"failed: attention, {batch} x {queries} queries, {keys} keys")
    return results


def main():
    command = os.environ.get("HONE", os.path.join(here, "../../build/release/bin/hone"))
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([command, "compile", os.path.join(here, "net.hir"), "-o", folder + "/net.so"], check=True)
        w, b = constant(folder, command)
        model, rng = hone.Model(folder + "/net.so"), np.random.default_rng(0)
        sizes = [0, 1, 2, 3, 7, 16, 17, 33]
        for n, height, width in [(n, h, w_) for n in (0, 1, 2) for h in sizes for w_ in sizes]:
            x = rng.standard_normal((n, height, width, 3)).astype(np.float32)
            got, want = model(x), expected(x, w, b)
            run, bound = model.bind(x)
            run()
            ok = all(np.array_equal(g, e) for g, e in zip(got, bound)) and all(g.shape == e.shape and np.allclose(g, e, rtol=1e-4, atol=1e-3) for g, e in zip(got, want))
            passed, failed = passed + ok, failed + (not ok)
            if not ok:
                print(f"failed: N={n} H={height} W={width}")
        for ok in early_exit(folder, command) + attention(folder, command):
            passed, failed = passed + ok, failed + (not ok)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


sys.exit(main())
