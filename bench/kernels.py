"""kernels.py gemm|conv|rows|calls [--ort] [--threads N] [--seconds S] [--only TEXT] [HONE OPTION..]: single kernels beside their peak.

Each shape is an ONNX model of its own, compiled and run like the whole models (engines.py). GFLOP/s count what the direct
algorithm does on dense operands, so Winograd and sparse weights may pass 100 percent. Convolutions have bias and Relu; hone's read and write channels-last as
in the middle of a network (transposes around the Conv that it cancels), ONNX Runtime's are NCHW. rows: bytes read and
written against the copy bandwidth measured for the same size. calls: what run() takes around kernels. "best" is the
fastest run, the rest are medians.
"""
import argparse
import json
import os
import subprocess
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from engines import HONE, MODELS, OUT, compile_hone, make, usable

GEMM = [(128, 768, 768), (128, 3072, 768), (512, 768, 768), (384, 768, 3072), (32, 256, 1024), (8, 768, 768),
        (1, 768, 768), (1, 3072, 768)]  # M, N, K
GEMM_NARROW = [(128, 768, 768), (128, 3072, 768), (512, 768, 768), (8, 768, 768), (1, 3072, 768)]  # bytes, bf16
SPARSE = [(128, 3072, 768), (1, 3072, 768), (128, 768, 3072)]  # three of four blocks of 1 x 16 are zero
CONV = [  # kernel, stride, channels in, out, size of the input; groups
    (7, 2, 3, 64, 224), (3, 1, 64, 64, 56), (3, 1, 128, 128, 28), (3, 1, 256, 256, 14), (3, 1, 512, 512, 7),
    (3, 2, 128, 128, 56), (3, 2, 256, 256, 28), (3, 2, 512, 512, 14), (1, 1, 64, 256, 56), (1, 1, 256, 64, 56),
    (1, 1, 512, 128, 28), (1, 1, 1024, 256, 14), (1, 1, 256, 1024, 14), (1, 1, 2048, 512, 7), (1, 1, 512, 2048, 7),
    (1, 2, 256, 512, 56), (3, 1, 32, 32, 112, 32), (3, 1, 144, 144, 56, 144), (3, 1, 576, 576, 14, 576),
    (3, 1, 960, 960, 7, 960), (5, 1, 240, 240, 28, 240), (5, 1, 672, 672, 14, 672)]
ROWS = [(128, 768), (16384, 1024)]


class Model:
    def __init__(self, seed):
        self.random, self.nodes, self.constants = np.random.default_rng(seed), [], []

    def normal(self, *shape, scale=1.0):
        return (self.random.standard_normal(shape) * scale).astype(np.float32)

    def const(self, array):
        self.constants.append(numpy_helper.from_array(array, f"c{len(self.constants)}"))
        return self.constants[-1].name

    def node(self, op, *inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"v{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def save(self, name, x, out, dtype=TensorProto.FLOAT, out_dtype=TensorProto.FLOAT, shape=None):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(self.nodes, "kernel", [helper.make_tensor_value_info("x", dtype, shape or x.shape)],
                                  [helper.make_tensor_value_info("y", out_dtype, out)], self.constants)
        save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9),
             f"{MODELS}/{name}.onnx")
        return name


def gemm(shape):
    m, n, k = shape
    b = Model(1)
    x = b.normal(m, k)
    b.node("MatMul", "x", b.const(b.normal(k, n, scale=k ** -0.5)))
    return b.save(f"kernels/gemm_{m}x{n}x{k}", x, (m, n)), x, 2 * m * n * k


def gemm_sparse(shape):
    m, n, k = shape
    b = Model(1)
    x, kept = b.normal(m, k), b.random.random((k, n // 16)) >= 0.75
    b.node("MatMul", "x", b.const(b.normal(k, n, scale=k ** -0.5) * np.repeat(kept, 16, axis=1).astype(np.float32)))
    return b.save(f"kernels/gemm_sparse75_{m}x{n}x{k}", x, (m, n)), x, 2 * m * n * k


def gemm_int8(shape):
    m, n, k = shape
    b = Model(1)
    x = b.random.integers(0, 256, (m, k), np.uint8)
    b.node("MatMulInteger", "x", b.const(b.random.integers(-127, 128, (k, n), np.int8)))
    name = f"kernels/gemm_int8_{m}x{n}x{k}"
    return b.save(name, x, (m, n), TensorProto.UINT8, TensorProto.INT32), x, 2 * m * n * k


def gemm_bf16(shape):
    m, n, k = shape
    b = Model(1)
    upper = lambda x: (np.ascontiguousarray(x).view(np.uint32) >> 16).astype(np.uint16)
    x, w = upper(b.normal(m, k)), upper(b.normal(k, n, scale=k ** -0.5))
    b.constants.append(helper.make_tensor("c0", TensorProto.BFLOAT16, w.shape, w.tobytes(), raw=True))
    b.node("MatMul", "x", "c0")
    name = f"kernels/gemm_bf16_{m}x{n}x{k}"
    return b.save(name, x, (m, n), TensorProto.BFLOAT16, TensorProto.BFLOAT16), x, 2 * m * n * k


def conv(shape, channels_last):
    kernel, stride, c, o, size, group = (*shape, 1)[:6]
    b, pad = Model(1), kernel // 2
    x, out = b.normal(1, c, size, size), (size + 2 * pad - kernel) // stride + 1
    fan = kernel * kernel * c // group
    w, bias = b.const(b.normal(o, c // group, kernel, kernel, scale=fan ** -0.5)), b.const(b.normal(o))
    v = b.node("Transpose", "x", perm=[0, 3, 1, 2]) if channels_last else "x"
    v = b.node("Conv", v, w, bias, strides=[stride] * 2, pads=[pad] * 4, kernel_shape=[kernel] * 2, group=group)
    v = b.node("Relu", v)
    if channels_last:
        b.node("Transpose", v, perm=[0, 2, 3, 1])
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    name = f"kernels/conv_{kernel}x{kernel}s{stride}_{c}_{o}_{size}" + ("_dw" if group > 1 else "")
    name += "" if channels_last else "_nchw"
    shape = (1, out, out, o) if channels_last else (1, o, out, out)
    return b.save(name, x, shape), x, 2 * out * out * o * fan


def row_kernel(op, shape):
    b = Model(1)
    x = b.normal(*shape)
    if op == "LayerNormalization":
        b.node(op, "x", b.const(b.normal(shape[1])), b.const(b.normal(shape[1])))
    else:
        b.node(op, "x")
    return b.save(f"kernels/{op}_{shape[0]}x{shape[1]}", x, shape), x, x.size


def rounds(runs, seconds):
    """Latencies of each engine, interleaved in five rounds."""
    taken = {engine: [] for engine in runs}
    for _ in range(5):
        for engine, run in runs.items():
            run()
            end = time.perf_counter() + seconds / 5
            while (before := time.perf_counter()) < end:
                run()
                taken[engine].append(time.perf_counter() - before)
    return taken


def measure(model, reference, options):
    """{engine: (median, best) in seconds} and the largest difference relative to the largest magnitude."""
    (name, x, _), runs, outputs = model, {}, {}
    error, _, _ = compile_hone(name, *options.hone)
    if error:
        raise RuntimeError(error)
    runs["hone"], outputs["hone"] = make("hone", name, options.threads, x)
    if options.ort:
        runs["ort"], outputs["ort"] = make("ort", reference[0], options.threads, reference[1])
    taken = rounds(runs, options.seconds)
    worst = None
    if options.ort:
        mine, theirs = outputs["hone"], outputs["ort"]
        mine = mine.transpose(0, 3, 1, 2) if mine.shape != theirs.shape else mine
        worst = np.abs(mine.astype(np.float64) - theirs).max() / np.abs(theirs).max()
    return {e: (float(np.median(t)), min(t)) for e, t in taken.items()}, worst


def print_row(label, times, worst, rate, limit, unit):
    """rate: work per second of a time; limit: what 100 percent is."""
    median, best = times["hone"]
    line = f"{label:34} {median * 1e3:9.4f} {rate(median):9.1f} {100 * rate(median) / limit:6.1f} "
    line += f"{100 * rate(best) / limit:6.1f}"
    if "ort" in times:
        line += f" {times['ort'][0] * 1e3:9.4f} {100 * rate(times['ort'][0]) / limit:6.1f} {worst:8.0e}"
    print(line, flush=True)


def head(unit, options):
    print(f"{'':34} {'ms':>9} {unit:>9} {'%':>6} {'best %':>6}"
          + (f" {'ort ms':>9} {'ort %':>6} {'err':>8}" if options.ort else ""))


def compute_rows(shapes, build, reference, limit, options):
    for shape in shapes:
        model = build(shape)
        label = model[0].split("/")[1]
        if options.only in label:
            times, worst = measure(model, reference(shape) if reference else model, options)
            print_row(label, times, worst, lambda t: model[2] / t / 1e9, limit, "GFLOP/s")


def copy_bandwidth(machine, size):
    """GB/s of the smallest level whose test was at least as large."""
    with_bytes = zip([32 << 10, 1 << 20, 32 << 20, 1 << 60], machine["gbs"].values())
    return next(level["copy"] for most, level in with_bytes if size <= most)


def rows(machine, options):
    head("GB/s", options)
    for op in ("Softmax", "LayerNormalization", "Gelu"):
        for shape in ROWS:
            model = row_kernel(op, shape)
            if options.only in model[0]:
                size = 8 * model[2]  # read once, written once
                limit = options.threads * copy_bandwidth(machine, size)
                times, worst = measure(model, model, options)
                print_row(f"{op} {shape[0]}x{shape[1]}", times, worst, lambda t: size / t / 1e9, limit, "GB/s")


def calls(options):
    """What run() takes around kernels: a chain of products that no group joins, over an empty batch, called from C."""
    b, x = Model(1), np.zeros((0, 4), np.float32)
    for i in range(100):
        b.node("MatMul", b.nodes[-1].output[0] if i else "x", b.const(b.normal(4, 4)))
    name = b.save("kernels/calls", x, ("N", 4), shape=("N", 4))
    error, _, _ = compile_hone(name, *options.hone)
    if error:
        raise RuntimeError(error)
    kernels = json.loads(subprocess.check_output([HONE, "info", f"{MODELS}/{name}.onnx", "--json"], text=True))["kernels"]
    np.save(f"{OUT}/{name}.npy", x)
    done = subprocess.check_output([HONE, "bench", f"{OUT}/{name}.so", "--json", "--input", f"{OUT}/{name}.npy", "--threads",
                                    str(options.threads), "--seconds", str(options.seconds)], text=True)
    print(f"run() of {kernels} kernels over an empty batch: {json.loads(done)['p50_ms'] * 1e3:.2f} us")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("what", choices=["gemm", "conv", "rows", "calls"])
    parser.add_argument("--ort", action="store_true", help="ONNX Runtime beside it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each engine and shape")
    parser.add_argument("--only", default="", help="shapes whose name contains this")
    options, options.hone = parser.parse_known_args()
    options.ort &= usable("ort")
    for folder in (MODELS, OUT):
        os.makedirs(f"{folder}/kernels", exist_ok=True)
    machine = json.loads(subprocess.check_output([f"{OUT}/machine"], text=True))
    peak = options.threads * max(v for k, v in machine["gops"].items() if k.startswith("f32"))
    vnni = options.threads * machine["gops"]["int8 VNNI"]
    print(f"f32 peak {peak:.1f} GFLOP/s, int8 {vnni:.1f} GOP/s, {options.threads} thread{'s' * (options.threads > 1)}")
    if machine["gops"]["int8 AMX"]:  # what percents of int8 and bf16 are of
        print(f"AMX of one core: int8 {machine['gops']['int8 AMX']:.1f} GOP/s, bf16 {machine['gops']['bf16 AMX']:.1f} GFLOP/s")
    if options.what == "calls":
        return calls(options)
    if options.what == "rows":
        return rows(machine, options)
    head("GFLOP/s", options)
    if options.what == "conv":
        return compute_rows(CONV, lambda s: conv(s, True), lambda s: conv(s, False), peak, options)
    compute_rows(GEMM, gemm, None, peak, options)
    compute_rows(SPARSE, gemm_sparse, None, peak, options)
    if vnni:
        compute_rows(GEMM_NARROW, gemm_int8, None, max(vnni, options.threads * machine["gops"]["int8 AMX"]), options)
    options.ort = False  # it has no product of bf16 on processors
    # where the instruction is slower than f32, as on Intel's, hone multiplies in f32, or in tiles
    bf16 = max(machine["gops"]["bf16 dot"], machine["gops"]["bf16 AMX"])
    compute_rows(GEMM_NARROW, gemm_bf16, None, max(peak, options.threads * bf16), options)


if __name__ == "__main__":
    main()
