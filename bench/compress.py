"""compress.py: what compression makes of models, measured by hone itself (--report with --held-out): compiled results beside the
f32 model's in the same process, input by input, one thread, so that a ratio compares two times of one run.

    compress.py demo                          accuracy, size, multiply-adds, latency of the trained models as a table
    compress.py bench [--json] [--quick]      ratios for each model and method; --quick: the trained models only

HONE is the command (default: the release build's). Trained models are judged on inputs that were held out; the others have
random weights, so for them an error only says how far results move."""
import argparse
import json
import os
import subprocess
import sys

import numpy as np

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TOP, "python"), os.path.join(TOP, "bench")]

import hone
import inputs

HONE = os.environ.get("HONE", os.path.join(TOP, "build/release/bin/hone"))
WORK = os.path.join(TOP, "build/compress")
LARGE = ("resnet18", "resnet50", "bert_mini_32", "bert_base_128")

# What the demo asks of each model: how much may be pruned, and the agreement that its calibration inputs can show.
TRAINED = {"digits": (["--prune", "channels=0.25"], "agree=0.98"), "glyphs": (["--prune", "ffn=0.5"], "agree=0.99"),
           "language": (["--prune", "ffn=0.5"], "agree=0.99")}
INT8 = ["--quantize", "int8"]
METHODS = {"int8": INT8, "int8-dynamic": ["--quantize", "int8-dynamic"], "int8-weight": ["--quantize", "int8-weight"],
           "int4-weight:32": ["--quantize", "int4-weight:32"], "bf16": ["--quantize", "bf16"],
           "prune macs=0.5": ["--prune", "macs=0.5"], "prune block:1x16=0.75": ["--prune", "block:1x16=0.75"],
           "prune macs=0.5, int8": ["--prune", "macs=0.5", *INT8]}


class Model:
    """A model with words for --calibrate and --held-out; inputs and labels, where it was trained."""

    def __init__(self, name):
        self.name, self.inputs, self.labels = name, None, None
        if name not in TRAINED:
            self.path = f"{TOP}/build/bench-models/{name}.onnx"
            self.calibrate, self.held_out = f"{WORK}/{name}-calibrate.npy", f"{WORK}/{name}-held-out.npy"
            for at, path in enumerate((self.calibrate, self.held_out)):
                np.save(path, np.concatenate([inputs.make_input(name, 100 + 8 * at + i) for i in range(8)]))
            return
        folder = f"{TOP}/examples/{name}"
        self.path = folder + "/model.onnx"
        if name == "digits":
            self.calibrate, self.held_out = folder + "/calibration.npy", folder + "/images.npy"
            self.inputs, self.labels = [np.load(self.held_out)], np.load(folder + "/labels.npy")
            return
        data = f"{TOP}/build/examples/{name}"
        if not os.path.exists(data + "/heldout-labels.npy"):
            os.makedirs(data, exist_ok=True)
            subprocess.run([sys.executable, folder + "/data.py", data], check=True, stdout=subprocess.DEVNULL)
        self.calibrate, self.held_out = data + "/calibration.npz", data + "/heldout.npz"
        self.labels = np.load(data + "/heldout-labels.npy")

    def accuracy(self, library):
        """The share of held-out inputs that get their label, in percent."""
        model = hone.Model(library)
        if self.inputs is None:
            with np.load(self.held_out) as held:
                self.inputs = [held[i["name"]] for i in model.inputs]
        found = model(*self.inputs)
        logits = found[0] if isinstance(found, (tuple, list)) else found
        return 100 * float((logits.argmax(-1) == self.labels).mean())


def measure(model, number, options):
    """(library, the report, what was said on stderr); report None if hone refused."""
    library, report = f"{WORK}/{model.name}-{number}.so", f"{WORK}/report.json"
    if os.path.exists(report):
        os.remove(report)
    calibrate = ["--calibrate", model.calibrate] if options else []
    done = subprocess.run([HONE, "compile", model.path, "-o", library, *options, *calibrate, "--held-out", model.held_out,
                           "--report", report], capture_output=True, text=True)
    if done.returncode or not os.path.exists(report):
        return library, None, done.stderr
    with open(report) as file:
        return library, json.load(file)["model"], done.stderr


def first(text, kind):
    """The first message of that kind, without what comes before it."""
    return next((line.split(kind, 1)[1].strip() for line in text.splitlines() if kind in line), "")


def work_of(report, said):
    """Mean multiply-adds: where inputs leave early, of what they need."""
    share = [line for line in said.splitlines() if "mean work" in line]
    return report["macs"]["after"] * (float(share[0].rsplit("mean work", 1)[1].split("%")[0]) / 100 if share else 1)


def demo_rows(name):
    prune, agree = TRAINED[name]
    exits = ["--early-exit", agree]
    return (("f32", []), ("int8", INT8), ("pruned (" + prune[1] + ")", prune), ("exits (" + agree + ")", exits),
            ("all three", [*prune, *INT8, *exits]))


def demo():
    for name in TRAINED:
        model = Model(name)
        print(f"\n{name}: {len(model.labels)} held-out inputs, one by one, one thread")
        print(f"  {'':24} {'accuracy':>9} {'weights':>11} {'mult-adds':>11} {'latency':>11} {'of f32':>7}")
        for number, (what, options) in enumerate(demo_rows(name)):
            library, report, said = measure(model, number, options)
            if not report:
                print(f"  {what:24} refused: {first(said, 'error:')}")
                continue
            latency = report["latency"]
            print(f"  {what:24} {model.accuracy(library):7.2f} % {report['size']['after'] / 1e3:8.1f} kB "
                  f"{work_of(report, said) / 1e6:9.3f} M {latency['after'] * 1e3:8.1f} us {latency['after'] / latency['before']:7.2f}")
            if warning := first(said, "warning:"):
                print(f"  {'':24} {warning}")


def ratio(report, what):
    return round(report[what]["after"] / report[what]["before"], 4)


def show(r):
    print(f"{r['model']:16} {r['method']:24} {r['size_ratio']:6.2f} {r['macs_ratio']:6.2f} {r['latency_ratio']:8.2f} "
          f"{r['error']:8.4f} {'-' if r['agreement'] is None else format(r['agreement'], '.4f'):>9}", flush=True)


def bench(options):
    names = [*TRAINED, *(() if options.quick else LARGE)]
    results = []
    if not options.json:
        print(f"{'model':16} {'method':24} {'size':>6} {'macs':>6} {'latency':>8} {'error':>8} {'agreement':>9}   (ratios to f32)")
    for name in options.models.split(",") if options.models else names:
        if name not in TRAINED and not os.path.exists(f"{TOP}/build/bench-models/{name}.onnx"):
            sys.exit(f"error: there is no build/bench-models/{name}.onnx: ./dev bench exports it")
        model = Model(name)
        for number, (method, words) in enumerate(METHODS.items()):
            _, report, said = measure(model, number, words)
            if not report or "warning:" in said:
                print(f"{name}, {method}: {first(said, 'error:') or first(said, 'warning:')}", file=sys.stderr)
            if not report:
                continue
            results.append({"model": name, "method": method, "size_ratio": ratio(report, "size"), "macs_ratio": ratio(report, "macs"),
                            "latency_ratio": ratio(report, "latency"), "error": report["error"],
                            "agreement": report.get("agreement")})
            if not options.json:
                show(results[-1])
    if options.json:
        print(json.dumps({"results": results}))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("demo", "bench"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", metavar="A,B")
    options = parser.parse_args()
    os.makedirs(WORK, exist_ok=True)
    if options.what == "demo":
        demo()
    else:
        bench(options)


if __name__ == "__main__":
    main()
