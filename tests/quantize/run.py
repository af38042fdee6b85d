"""Quantization end to end: models of examples/ are quantized with calibration inputs and judged on inputs that were held out."""
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "support"))
from checks import check, command, finish, skip, top  # noqa: E402
import hone  # noqa: E402

POINTS = 0.5  # of accuracy that quantization may cost
MODES = ["int8", "int8:percentile=99.99", "int8-dynamic", "auto", "int8-weight", "int4-weight", "int4-weight:16",
         "bf16", "bf16 x86-64-v3"]  # the last one for a level


def run(*words):
    return subprocess.run([command, *words], capture_output=True, text=True)


def accuracy(model, inputs, labels, batch):
    right = 0
    for at in range(0, len(labels), batch):
        part = [a[at:at + batch] for a in inputs]
        if len(part) > 1:  # tokens and their mask: the columns in use
            length = int(part[1].sum(1).max())
            part = [np.ascontiguousarray(a[:, :length]) for a in part]
        right += (model(*part)[0].argmax(1) == labels[at:at + batch]).sum()
    return 100 * right / len(labels)


def data_of(folder, name):
    """Words for --calibrate, held-out inputs and labels; None where the data cannot be made here."""
    source = f"{top}/examples/{name}"
    if name == "digits":
        return source + "/calibration.npy", [np.load(source + "/images.npy")], np.load(source + "/labels.npy")
    data = os.path.join(folder, name)
    made = subprocess.run([sys.executable, source + "/data.py", data], capture_output=True)
    if made.returncode:
        return None
    with np.load(data + "/heldout.npz") as held:
        inputs = [held[k] for k in held.files]
    return data + "/calibration.npz", inputs, np.load(data + "/heldout-labels.npy")


def trained(folder, name):
    """Every mode keeps the accuracy; the error that is reported is small; the same words give the same bytes."""
    data = data_of(folder, name)
    if not data:
        skip(f"{name}: its data cannot be made here")
        return
    calibration, inputs, labels = data
    model, found = f"{top}/examples/{name}/model.onnx", {}
    for mode in ["f32"] + MODES:
        library, report = f"{folder}/{name}-{mode}.so", f"{folder}/{name}-{mode}.json"
        words = [] if mode == "f32" else ["--quantize", mode.split()[0], "--report", report]
        words += ["--cpu", *mode.split()[1:]] if " " in mode else []
        words += ["--calibrate", calibration] if mode.startswith(("int8:", "auto", "int4")) or mode == "int8" else []
        made = run("compile", model, "-o", library, *words)
        check(f"{name}: {mode} compiles: {made.stderr}", not made.returncode)
        if made.returncode:
            continue
        found[mode] = accuracy(hone.Model(library), inputs, labels, 64)
        if mode in ("int8", "auto"):
            with open(report) as file:
                section = json.load(file)["quantize"]
            check(f"{name}: {mode}: error {section['error']}", 0 < section["error"] < (0.01 if mode == "auto" else 0.1))
            rows = [row.get("error", row.get("layer_error")) for row in section["sensitivity"]]
            check(f"{name}: {mode}: a row for each layer", len(rows) >= 4 and any(rows))
        if mode == "int8":
            os.rename(library, library + ".first")
            run("compile", model, "-o", library, *words)
            with open(library, "rb") as one, open(library + ".first", "rb") as other:
                check(f"{name}: the same bytes again", one.read() == other.read())
    print(name, {mode: round(float(right), 2) for mode, right in found.items()})
    for mode in MODES:
        check(f"{name}: {mode}: {found.get(mode)} % right, of f32 {found['f32']} %",
              found.get(mode, 0) >= found["f32"] - POINTS)


def kernels(name, *words, cpu="x86-64-v4+vnni"):
    return [line for line in run("dump", f"{top}/examples/{name}/model.onnx", "--kernels", "--cpu", cpu,
                                 *words).stdout.splitlines() if line.startswith("} plan")]


def in_bytes(folder):
    """All contractions by the weights of a transformer, and the second convolution of a CNN, are tiles of bytes."""
    plans = kernels("glyphs", "--quantize", "int8", "--calibrate", "random:4")
    check("glyphs: products in bytes", sum("mac=i8" in p for p in plans) >= 25)
    plans = kernels("digits", "--quantize", "int8-dynamic")
    check("digits: products in bytes at run time", sum("mac=i8" in p for p in plans) == 4)


def few_bits(folder):
    """Weights and tables of few bits: how large they are, and that all products unpack them."""
    for mode, share, mac in (("int8-weight", 0.28, "w8_f32"), ("int4-weight", 0.18, "w4_f32"), ("int4-weight:16", 0.2, "w4_f32")):
        sizes = []
        for words in ([], ["--quantize", mode]):
            info = json.loads(run("info", f"{top}/examples/language/model.onnx", "--json", *words).stdout)
            sizes.append(info["weight_bytes"])
        check(f"language: {mode}: {sizes[1] / sizes[0]:.3f} of the weights", sizes[1] < share * sizes[0])
        plans = kernels("language", "--quantize", mode)
        check(f"language: {mode}: products unpack", sum("mac=" + mac in p for p in plans) >= 24)


def in_bf16(folder):
    """The same products, by the instruction where it is fast, in tiles of AMX, and as f32; panels of half the size."""
    for cpu, mac in (("x86-64-v4+bf16,tune=znver4", "bf16_dot"), ("x86-64-v4+amx", "bf16_tile"), ("x86-64-v3", "bf16_fma")):
        plans = kernels("glyphs", "--quantize", "bf16", cpu=cpu)
        check(f"glyphs: products of bf16 on {cpu}", sum(f"mac={mac}" in p for p in plans) >= 25)
    calibration = f"{folder}/glyphs/calibration.npz"  # where its data could be made
    if os.path.exists(calibration):  # heads of exits are fitted to values that are rounded for products
        made = run("compile", f"{top}/examples/glyphs/model.onnx", "-o", f"{folder}/exits.so", "--quantize", "bf16",
                   "--early-exit", "agree=0.97", "--calibrate", calibration)
        check(f"glyphs: exits of a model in bf16: {made.stderr}", not made.returncode and "exit 0 after" in made.stderr)
    size = {}
    for mode in ([], ["--quantize", "bf16"]):
        run("compile", f"{top}/examples/glyphs/model.onnx", "-o", f"{folder}/size.so", "--cpu", "x86-64-v3", *mode)
        size[bool(mode)] = json.loads(run("info", "--json", f"{folder}/size.so").stdout)["weight_bytes"]
    check(f"glyphs: weights of half the size: {size}", size[True] < 0.56 * size[False])


def quantized_models(folder):
    """Models that come quantized: ONNX Runtime's results within a step of their last scale, and products in bytes."""
    for name in ("image", "image_signed", "tokens", "tokens_signed"):
        case, library = f"{here}/qdq_{name}", f"{folder}/{name}.so"
        made = run("compile", case + "/model.onnx", "-o", library)
        check(f"{name} compiles: {made.stderr}", not made.returncode)
        if made.returncode:
            continue
        x, y, step = (np.load(f"{case}/{what}.npy") for what in ("x", "y", "step"))
        steps = np.abs(hone.Model(library)(x)[0] - y) / step
        check(f"{name}: at most a step off: {steps.max():.2f}", steps.max() < 1.01)
        check(f"{name}: nearly all are the same: {(steps < 0.01).mean():.3f}", (steps < 0.01).mean() > 0.97)
        plans = run("dump", case + "/model.onnx", "--kernels", "--cpu", "x86-64-v4+vnni").stdout
        products = 4 if name.startswith("image") else 3
        check(f"{name}: {products} products in bytes", plans.count("plan contract { mac=i8") == products and
              plans.count("plan contract") == products)


def refused(what, text, *words):
    made = run("compile", f"{top}/examples/digits/model.onnx", "-o", "/dev/null/none.so", *words)
    check(f"{what}: {made.stderr}", made.returncode == 2 and text in made.stderr and made.stderr.count("error:") == 1)


def messages():
    calibrate = ["--calibrate", f"{top}/examples/digits/calibration.npy"]
    refused("unknown mode", 'no mode "int9"', "--quantize", "int9")
    refused("unknown option", "percentile=P", "--quantize", "int8:middle=3", *calibrate)
    refused("a block of no size", "a block of 8 to 1024", "--quantize", "int4-weight:12")
    refused("an option of 8 bits", "no option of int8-weight", "--quantize", "int8-weight:32")
    refused("no inputs", "needs inputs to calibrate on", "--quantize", "int8")
    refused("an error that nothing keeps", "raise --max-error", "--quantize", "auto", "--max-error", "1e-6", *calibrate)
    refused("max-error alone", "--max-error is for", "--max-error", "0.1")


with tempfile.TemporaryDirectory() as work:
    for example in ("digits", "glyphs", "language"):
        trained(work, example)
    in_bytes(work)
    few_bits(work)
    in_bf16(work)
    quantized_models(work)
    messages()
finish()
