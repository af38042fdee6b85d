"""bench.py: hone and its peers on the models of models.py; called by bench/run.

All engines are called alike: from one Python loop, inputs and outputs preallocated and bound before.
Rounds are interleaved (every engine once a round); p50 and p90 are over the runs of all rounds.
"Start to first result" is from starting a Python process to the first output in it, imports included;
peak memory is that process's VmHWM. Outputs are compared with ONNX Runtime's: an engine agrees if
its largest difference is within 1e-3 of the largest its largest difference is within 1e-3 of the largest magnitude. Other processes spoil latencies, most of
all with two threads: the CPU time they take (/proc/stat less our own) is measured with every slice, and
a slice is taken again when they took more than QUIET of a core, whatever its latency, until --patience
seconds are used up; after that it is kept, and the report says how much of a core was lost.
Writes bench/results/DATE-CPU.md, .json.
 bench/results/DATE-CPU.md, .json.
"""
import argparse
import ctypes
import datetime
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, OUT = f"{ROOT}/build/bench-models", f"{ROOT}/build/bench"
ORDER = ["mlp_784", "lstm_50", "bert_mini_32", "squeezenet1_1", "mobilenet_v2", "resnet18", "resnet50",
         "bert_base_128"]
QUICK = ["mlp_784", "bert_mini_32", "squeezenet1_1", "resnet18"]
ENGINES = ["hone", "ort", "ov-f32", "ov-default"]
TOLERANCE = 1e-3
QUIET = 0.15  # of one core; /proc/stat counts in ticks of 10 ms, so a slice of 0.4 s is good to a few percent


class Load:
    """CPU time that other processes took since it was made, as a fraction of one core."""

    def __init__(self):
        self.start, self.before = time.perf_counter(), self.others()

    @staticmethod
    def others():
        with open("/proc/stat") as f:
            user, nice, system, _, _, irq, soft, steal = (int(n) for n in f.readline().split()[1:9])
        busy = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return busy - sum(os.times()[:4])  # ours and our finished children's

    def share(self):
        return max(0.0, (self.others() - self.before) / (time.perf_counter() - self.start))


class Patience:
    def __init__(self, seconds):
        self.left = seconds

    def quietly(self, work):
        """Returns (work(), foreign share), repeating work while others disturb it."""
        while True:
            load, start = Load(), time.perf_counter()
            result = work()
            share = load.share()
            if share <= QUIET or self.left <= 0:
                return result, share
            time.sleep(1)
            self.left -= time.perf_counter() - start


def make_inputs(name):
    """The one input of a model, the same in every process."""
    random = np.random.default_rng(7)
    if name.startswith("bert"):
        return random.integers(0, 30522, (1, int(name.split("_")[-1])), np.int64)
    shape = {"mlp_784": (1, 784), "lstm_50": (50, 1, 64)}.get(name, (1, 3, 224, 224))
    return random.standard_normal(shape).astype(np.float32)


def make_hone(name, threads, x):
    sys.path.insert(0, f"{ROOT}/python")
    import hone

    model = hone.Model(f"{OUT}/{name}.so", threads)
    table, context = model._m, model._context
    inputs, outputs = (hone._Tensor * 1)(), (hone._Tensor * 1)()
    inputs[0] = hone._Tensor(data=x.ctypes.data, size=x.nbytes, rank=x.ndim, dtype=table.inputs[0].dtype)
    inputs[0].dims[: x.ndim] = x.shape
    if table.output_dims(context, inputs, outputs):
        raise RuntimeError(table.error(context).decode())
    y = np.zeros(tuple(outputs[0].dims[: outputs[0].rank]), np.float32)
    outputs[0].data, outputs[0].size = y.ctypes.data, y.nbytes
    run = table.run

    def call(keep=(model, x, y)):
        if run(context, inputs, outputs):
            raise RuntimeError(table.error(context).decode())
    return call, y


def make_ort(name, threads, x):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(f"{MODELS}/{name}.onnx", options, providers=["CPUExecutionProvider"])
    binding, result = session.io_binding(), session.get_outputs()[0]
    y = np.zeros(result.shape, np.float32)
    source = session.get_inputs()[0]
    binding.bind_input(source.name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output(result.name, "cpu", 0, np.float32, y.shape, y.ctypes.data)
    return lambda keep=(x, y): session.run_with_iobinding(binding), y


def make_openvino(name, threads, x, f32):
    import openvino as ov

    config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    if f32:
        config["INFERENCE_PRECISION_HINT"] = "f32"
    compiled = ov.Core().compile_model(f"{MODELS}/{name}.onnx", "CPU", config)
    request = compiled.create_infer_request()
    y = np.zeros(tuple(compiled.output(0).shape), np.float32)
    request.set_input_tensor(ov.Tensor(x, shared_memory=True))
    request.set_output_tensor(ov.Tensor(y, shared_memory=True))
    return lambda keep=(compiled, x, y): request.infer(), y


def make(engine, name, threads, x):
    """Returns (call, output): call() runs the engine once and fills output."""
    if engine == "hone":
        return make_hone(name, threads, x)
    if engine == "ort":
        return make_ort(name, threads, x)
    return make_openvino(name, threads, x, engine == "ov-f32")


def cold_child(engine, name, start):
    call, _ = make(engine, name, 1, make_inputs(name))
    call()
    elapsed = time.time() - start
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    print(json.dumps({"first_ms": elapsed * 1e3, "peak_mb": peak / 1024}))


def cold(engine, name):
    """Median of three new processes."""
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, __file__, "--cold", engine, name, repr(time.time())],
                              capture_output=True, text=True)
        if done.returncode:
            return {"error": done.stderr.strip()[-300:]}
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: float(np.median([r[key] for r in runs])) for key in runs[0]}


def compile_model(name):
    start = time.perf_counter()
    done = subprocess.run([f"{ROOT}/build/release/bin/hone", "compile", f"{MODELS}/{name}.onnx", "-o",
                           f"{OUT}/{name}.so"], capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()}
    return {"compile_s": time.perf_counter() - start, "artifact_bytes": os.path.getsize(f"{OUT}/{name}.so"),
            "onnx_bytes": os.path.getsize(f"{MODELS}/{name}.onnx")}


def take(call, seconds):
    """Latencies of one slice."""
    taken = []
    time.sleep(0.05)  # lets the last engine's threads stop spinning
    for _ in range(2):
        call()
    end = time.perf_counter() + seconds
    while (before := time.perf_counter()) < end:
        call()
        taken.append(time.perf_counter() - before)
    return taken


def measure(name, threads, engines, rounds, seconds, patience):
    """{engine: {p50_ms, p90_ms, runs, foreign, error_vs_ort} or {error}}, interleaved."""
    x, calls, results, times = make_inputs(name), {}, {}, {}
    for engine in engines:
        try:
            calls[engine], results[engine] = make(engine, name, threads, x)
            calls[engine]()
        except Exception as error:
            calls.pop(engine, None)
            times[engine] = {"error": f"{type(error).__name__}: {error}"[:300]}
    samples, foreign = {engine: [] for engine in calls}, dict.fromkeys(calls, 0.0)
    for _ in range(rounds):
        for engine, call in calls.items():
            taken, share = patience.quietly(lambda: take(call, seconds))
            samples[engine] += taken
            foreign[engine] = max(foreign[engine], share)
    reference = results.get("ort") if "ort" in calls else None
    for engine, taken in samples.items():
        times[engine] = {"p50_ms": float(np.percentile(taken, 50)) * 1e3,
                         "p90_ms": float(np.percentile(taken, 90)) * 1e3, "runs": len(taken), "foreign": foreign[engine]}
        if reference is not None:
            worst = np.abs(results[engine] - reference).max() / max(np.abs(reference).max(), 1e-30)
            times[engine]["error_vs_ort"] = float(worst)
            times[engine]["agrees"] = bool(worst <= TOLERANCE)  # false for NaN too
    return times


def describe_machine():
    lscpu = dict(line.split(":", 1) for line in subprocess.check_output(["lscpu"], text=True).splitlines()
                 if ":" in line)
    lscpu = {k.strip(): v.strip() for k, v in lscpu.items()}
    keys = ["Model name", "CPU family", "Model", "CPU(s)", "L1d cache", "L2 cache", "L3 cache", "Hypervisor vendor"]
    peaks = json.loads(subprocess.check_output([f"{OUT}/machine"], text=True))
    return {"cpu": {k: lscpu[k] for k in keys if k in lscpu}, "kernel": platform.release(), "peaks": peaks}


def versions():
    from importlib.metadata import PackageNotFoundError, version

    found = {"hone": subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True,
                                    text=True).stdout.strip()}
    for package in ("onnxruntime", "openvino", "numpy"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


def cell(row, key, form="{:.3g}"):
    return form.format(row[key]) if key in row else "fails" if "error" in row else "-"


def latency_rows(report, threads):
    peak = threads * max(report["machine"]["peaks"][k] for k in ("f32_avx2_gflops", "f32_avx512_gflops"))
    for name, m in report["models"].items():
        t = m["threads"][str(threads)]
        row = [name, f"{m['gflop']:.3g}"]
        row += [f"{cell(t[e], 'p50_ms')} / {cell(t[e], 'p90_ms')}" if e in t else "-" for e in ENGINES]
        mine = t["hone"].get("p50_ms")
        row += [f"{t[e]['p50_ms'] / mine:.2f}" if mine and "p50_ms" in t.get(e, {}) else "-" for e in ENGINES[1:3]]
        row += [f"{100 * m['gflop'] / (t[e]['p50_ms'] / 1e3) / peak:.0f}" if "p50_ms" in t.get(e, {}) else "-"
                for e in ENGINES[:3]]
        row += [cell(t[e], "error_vs_ort", "{:.1e}") if e in t else "-" for e in ("hone", "ov-f32", "ov-default")]
        yield row


def table(head, rows):
    lines = ["| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows]]
    return "\n".join(lines) + "\n"


def shares(m):
    """(measurement, CPU share of other processes) for all of a model."""
    yield "compile", m["compile"]["foreign"]
    for engine, row in m["cold"].items():
        yield f"{engine} cold", row.get("foreign", 0)
    for threads, by in m["threads"].items():
        for engine, row in by.items():
            yield f"{engine} {threads}T", row.get("foreign", 0)


def markdown(report):
    machine = report["machine"]
    text = f"# Benchmark of {report['date']}\n\n"
    text += "; ".join(f"{k}: {v}" for k, v in machine["cpu"].items()) + f"; Linux {machine['kernel']}\n\n"
    text += "Peaks of one core: " + ", ".join(f"{k} {v}" for k, v in machine["peaks"].items()) + "\n\n"
    text += "Versions: " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()) + "\n\n"
    text += (f"Batch 1, f32, random weights, {report['rounds']} interleaved rounds of {report['seconds']} s. p50 / p90 "
             "in ms. Ratio: peer time / hone time (above 1, hone is faster). % of peak: of the best measured f32 "
             "FMA peak times the threads. err: largest difference from ONNX Runtime's output over its largest "
             "magnitude (1e-3 is the bound; ov-default may compute below f32).\n\n")
    for threads in report["threads"]:
        head = ["model", "GFLOP", *ENGINES, "ort / hone", "ov-f32 / hone", "hone % of peak", "ort %", "ov-f32 %",
                "hone err", "ov-f32 err", "ov-default err"]
        text += f"## {threads} thread{'s' * (threads > 1)}\n\n" + table(head, latency_rows(report, threads))
        ratios = [min(t[e]["p50_ms"] for e in ENGINES[1:3] if "p50_ms" in t.get(e, {})) / t["hone"]["p50_ms"]
                  for m in report["models"].values() if "p50_ms" in (t := m["threads"][str(threads)])["hone"]
                  and any("p50_ms" in t.get(e, {}) for e in ENGINES[1:3])]
        if ratios:
            text += f"\nGeometric mean, fastest f32 peer / hone: {np.exp(np.mean(np.log(ratios))):.2f}\n\n"
    text += "## Cold start, memory, size, compile time (1 thread, from Python)\n\n"
    rows = [[name, *(f"{cell(m['cold'][e], 'first_ms', '{:.0f}')} / {cell(m['cold'][e], 'peak_mb', '{:.0f}')}"
                     for e in ENGINES[:3] if e in m["cold"]), cell(m["compile"], "artifact_bytes", "{:,}"),
             cell(m["compile"], "onnx_bytes", "{:,}"), cell(m["compile"], "compile_s", "{:.2f}")]
            for name, m in report["models"].items()]
    engines = [e for e in ENGINES[:3] if e in report["engines"]]
    text += table(["model", *(f"{e} first ms / peak MB" for e in engines), ".so bytes", ".onnx bytes", "compile s"],
                  rows)
    failures = [f"- {name}, {e}, {n} threads: {t['error']}" for name, m in report["models"].items()
                for n, by in m["threads"].items() for e, t in by.items() if "error" in t]
    failures += [f"- {name}: {m['compile']['error']}" for name, m in report["models"].items()
                 if "error" in m["compile"]]
    failures += [f"- {name}, {n} threads: hone's output differs from ONNX Runtime's"
                 for name, m in report["models"].items() for n, by in m["threads"].items()
                 if not by["hone"].get("agrees", True)]
    disturbed = [f"- {name}, {what}: {share:.2f} of a core" for name, m in report["models"].items()
                 for what, share in shares(m) if share > QUIET]
    text += "\n## Disturbed by other processes (do not trust these)\n\n" + "\n".join(disturbed or ["none"]) + "\n"
    return text + ("\n## Failures\n\n" + "\n".join(failures) + "\n" if failures else "")


def bench_model(name, engines, options):
    with open(f"{MODELS}/{name}.json") as f:
        entry = {"gflop": json.load(f)["gflop"], "threads": {}, "cold": {}}
    entry["compile"], share = options.patience.quietly(lambda: compile_model(name))
    entry["compile"]["foreign"] = share
    usable = [e for e in engines if e != "hone" or "error" not in entry["compile"]]
    for threads in options.threads:
        t = measure(name, threads, usable, options.rounds, options.seconds, options.patience)
        if "hone" not in t:
            t["hone"] = {"error": entry["compile"]["error"]}
        entry["threads"][str(threads)] = t
        print(name, f"{threads}T", {e: t[e].get("p50_ms", t[e].get("error")) for e in t},
              {e: round(t[e].get("foreign", 0), 2) for e in t}, flush=True)
    for engine in engines[:3]:
        if engine in usable:
            entry["cold"][engine], share = options.patience.quietly(lambda: cold(engine, name))
            entry["cold"][engine]["foreign"] = share
        else:
            entry["cold"][engine] = {"error": "not compiled"}
    return entry


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    numbers = lambda text: [int(n) for n in text.split(",")]
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--models", type=lambda text: text.split(","))
    parser.add_argument("--threads", type=numbers, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--patience", type=lambda text: Patience(float(text)), default=Patience(120))
    options = parser.parse_args()
    names = options.models or (QUICK if options.quick else ORDER)
    found = versions()
    engines = [e for e in ENGINES if e == "hone" or (e == "ort" and "onnxruntime" in found)
               or (e.startswith("ov") and "openvino" in found)]
    subprocess.run([sys.executable, f"{ROOT}/bench/models.py", MODELS, *names], check=True)
    report = {"date": datetime.date.today().isoformat(), "machine": describe_machine(), "versions": found,
              "threads": options.threads, "rounds": options.rounds, "seconds": options.seconds, "engines": engines,
              "models": {}}
    for name in names:
        report["models"][name] = bench_model(name, engines, options)
    cpu = report["machine"]["cpu"]
    slug = "-".join(f"{cpu['Model name']} {cpu['CPU family']} {cpu['Model']}".lower().split())
    path = f"{ROOT}/bench/results/{report['date']}-{slug}" + ("-quick" if options.quick else "")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".json", "w") as f:
        json.dump(report, f, indent=1)
    with open(path + ".md", "w") as f:
        f.write(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cold"]:
        cold_child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()
