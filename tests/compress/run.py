"""hone compress end to end: the models of examples/, plain and compressed, are written as ONNX; what hone (and, with --full,
ONNX Runtime) makes of the file must be what hone makes of the same passes in one go."""
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "support"))
from checks import check, command, finish, skip, top  # noqa: E402


def hone(*words):
    return subprocess.run([command, *words], capture_output=True, text=True)


def run(folder, model, inputs):
    words = []
    for name, array in inputs.items():
        np.save(f"{folder}/{name}.npy", array)
        words.append(f"{name}={folder}/{name}.npy")
    done = hone("run", model, "--input", *words, "--output", folder + "/out.npy")
    return np.load(folder + "/out.npy") if done.returncode == 0 else done.stderr


def differ(a, b):
    """The largest difference, of the largest expected value; 1 where there is none."""
    if isinstance(a, str) or isinstance(b, str) or a.shape != b.shape:
        print(a if isinstance(a, str) else b if isinstance(b, str) else "shapes differ")
        return 1
    return np.abs(a - b).max() / np.abs(b).max()


def data_of(folder, name):
    """Calibration words and held-out inputs of a model of examples/; None if its data cannot be made here."""
    if name == "digits":
        return f"{top}/examples/digits/calibration.npy", {"image": np.load(f"{top}/examples/digits/images.npy")[:60]}
    data = f"{folder}/{name}"
    os.makedirs(data, exist_ok=True)
    if not os.path.exists(data + "/heldout.npz"):
        subprocess.run([sys.executable, f"{top}/examples/{name}/data.py", data], capture_output=True)
    if not os.path.exists(data + "/heldout.npz"):
        return None
    held = np.load(data + "/heldout.npz")
    return data + "/calibration.npz", {key: held[key][:60] for key in held.files}


# What it is, options, and how far results may be from those of one go: operators' own order of sums, and activations that
# a last bit brings into the next step of an 8-bit scale.
ways = (("plain", [], 1e-5), ("int8", ["--quantize", "int8"], 2e-2), ("int8-dynamic", ["--quantize", "int8-dynamic"], 3e-2),
        ("int8-weight", ["--quantize", "int8-weight"], 1e-4),
        ("int4-weight", ["--quantize", "int4-weight:32"], 1e-4), ("bf16", ["--quantize", "bf16"], 2e-3),
        ("pruned", ["--prune", "0.25"], 1e-5), ("pruned int8", ["--prune", "0.25", "--quantize", "int8"], 3e-2))


def trained(folder, name, runtime):
    found = data_of(folder, name)
    if not found:
        skip(f"{name}: its data cannot be made here")
        return
    calibration, inputs = found
    model, small, library = f"{top}/examples/{name}/model.onnx", f"{folder}/small.onnx", f"{folder}/{name}"
    for way, options, allowed in ways:
        if options:
            options = [*options, "--calibrate", calibration]
        what, straight = f"{name}, {way}", f"{library}-{way.replace(' ', '-')}.so"
        written = hone("compress", model, "-o", small, *options)
        check(f"{what}: written: {written.stderr}", written.returncode == 0)
        made = hone("compile", model, "-o", straight, *options)
        check(f"{what}: compiled: {made.returncode}, {made.stderr}", made.returncode == 0)
        expected = run(folder, straight, inputs)
        check(f"{what}: the file computes the same", differ(run(folder, small, inputs), expected) <= allowed)
        smaller = os.path.getsize(small) / os.path.getsize(model)
        check(f"{what}: size ratio {smaller}", smaller < (0.6 if "int" in way else 0.95 if "pruned" in way else 1.01))
        if runtime:
            # it computes products by weights of few bits with activations of few bits
            allowed = max(allowed, 3e-2) if "weight" in way else allowed
            check(f"{what}: ONNX Runtime computes the same", differ(runtime(small, inputs), expected) <= allowed)


def runtime_of(folder):
    """A function that checks a model with onnx.checker and runs it with ONNX Runtime, both in an environment of their own."""
    place = os.path.join(top, "build", "bench-venv")
    python = place + "/bin/python"
    if subprocess.run([python, "-c", "import onnx, onnxruntime"], capture_output=True).returncode if os.path.exists(python) else 1:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "onnx", "onnxruntime"], check=True)
    script = ("import sys, numpy as np, onnx, onnxruntime as o\n"
              "onnx.checker.check_model(sys.argv[1], full_check=True)\n"
              "s = o.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
              "np.save(sys.argv[2], s.run(None, dict(np.load(sys.argv[3])))[0])\n")

    def runtime(model, inputs):
        np.savez(folder + "/in.npz", **inputs)
        done = subprocess.run([python, "-c", script, model, folder + "/ort.npy", folder + "/in.npz"], capture_output=True, text=True)
        return np.load(folder + "/ort.npy") if done.returncode == 0 else done.stderr

    return runtime


def messages(folder):
    digits = f"{top}/examples/digits/model.onnx"
    with open(folder + "/lacks.hir", "w") as file:
        file.write("func @f(%x: f32[N]) -> (%y: f32[N]) {\n"
                   "  %a: f32[N] = cumulate(%x) {kind=max} !\"first\"\n"
                   "  %y: f32[N] = cumulate(%a) {kind=prod} !\"second\"\n  return %y\n}\n")
    hone("compile", digits, "-o", folder + "/exits.hir", "--stop-after", "early_exit", "--early-exit", "agree=0.9",
         "--calibrate", f"{top}/examples/digits/images.npy")
    for what, words, status, text in (
            ("no output", [digits], 2, "Give -o"),
            ("early exits", [digits, "-o", folder + "/e.onnx", "--early-exit", "agree=0.9"], 2, "ONNX cannot express early exits"),
            ("a folder that is not there", [digits, "-o", folder + "/none/e.onnx"], 4, "cannot write"),
            ("exits in the graph", [folder + "/exits.hir", "-o", folder + "/e.onnx"], 3, "early exits"),
            ("operators that ONNX lacks", [folder + "/lacks.hir", "-o", folder + "/e.onnx"], 3, "cannot be written")):
        done = hone("compress", *words)
        check(f"{what}: {done.returncode} {done.stderr}", done.returncode == status and text in done.stderr)
        check(f"{what}: all at once", done.stderr.count("error:") == (2 if "lacks" in what else 1))
        check(f"{what}: no file", not os.path.exists(folder + "/e.onnx"))


def same_bytes(folder):
    digits = f"{top}/examples/digits/model.onnx"
    texts = []
    for i in range(2):
        hone("compress", digits, "-o", f"{folder}/{i}.onnx")
        with open(f"{folder}/{i}.onnx", "rb") as file:
            texts.append(file.read())
    check("the same bytes every time", texts[0] == texts[1])


def interrupted(folder):
    """Killed at some moment, the command leaves the file or nothing."""
    model, place = f"{top}/examples/language/model.onnx", folder + "/cut"
    os.mkdir(place)
    for wait in range(12):
        job = subprocess.Popen([command, "compress", model, "-o", place + "/x.onnx"], stdout=subprocess.DEVNULL)
        time.sleep(wait * 0.004)
        job.send_signal(signal.SIGINT)
        job.wait()
        left = os.listdir(place)
        check(f"interrupted after {wait * 4} ms: {left}", left in ([], ["x.onnx"]))
        for name in left:
            check("what is left is whole", hone("info", f"{place}/{name}").returncode == 0)
            os.remove(f"{place}/{name}")


with tempfile.TemporaryDirectory() as work:
    ort = runtime_of(work) if "--full" in sys.argv else None
    for example in ("digits", "glyphs", "language"):
        trained(work, example, ort)
    messages(work)
    same_bytes(work)
    interrupted(work)
finish()
