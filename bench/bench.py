"""bench.py: hone and its peers on the models of inputs.py; called by bench/run.

All engines are called alike: from one Python loop, inputs and outputs preallocated and bound before (engines.py).
Rounds are interleaved (every engine once a round); p50 and p90 are over the runs of all rounds.
"Start to first result" is from starting a process to the first output in it: a Python process, imports
included, and for hone also a C program (first.c); peak memory is that process's. "load" is the part of
that from opening the model on: without the start of Python and its imports. Outputs are compared with
ONNX Runtime's: an engine agrees if its largest difference is within 1e-3 of the largest magnitude. Other processes spoil
latencies, most of all with two threads, and so do other guests of the host: what they take is measured with every slice
(quiet.py), and a slice is taken again when that was more than QUIET of a core, whatever its latency, until --patience
seconds are used up; after that it is kept, and the report says how much of a core was lost.
Writes bench/results/DATE-CPU.md, .json and .svg.
"""
import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np

import report
from engines import ENGINES, HONE, MODELS, MORE, OUT, PACKAGES, ROOT, compile_hone, load, make, usable
from inputs import INPUTS, make_input
from quiet import QUIET, Patience

QUICK = ["mlp_784", "bert_mini_32", "squeezenet1_1", "resnet18"]
TOLERANCE = 1e-3


def cold_child(engine, name, start):
    x = make_input(name)
    load(engine)
    before = time.time()
    run, _ = make(engine, name, 1, x)
    run()
    now = time.time()
    with open("/proc/self/status") as f:
        peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))
    print(json.dumps({"first_ms": (now - start) * 1e3, "load_ms": (now - before) * 1e3, "peak_mb": peak / 1024}))


def cold(engine, name):
    """Median of three new processes; engine "hone-c" is first.c."""
    runs = []
    for _ in range(3):
        command = [f"{OUT}/first", f"{OUT}/{name}.so"] if engine == "hone-c" else [
            sys.executable, __file__, "--cold", engine, name, repr(time.time())]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return {"error": done.stderr.strip()[-300:]}
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return {key: float(np.median([r[key] for r in runs])) for key in runs[0]}


def compile_model(name):
    error, seconds, peak = compile_hone(name)
    if error:
        return {"error": error}
    return {"compile_s": seconds, "compile_mb": peak, "artifact_bytes": os.path.getsize(f"{OUT}/{name}.so"),
            "onnx_bytes": os.path.getsize(f"{MODELS}/{name}.onnx")}


def profile(name):
    """How far one thread is from the bound of its kernels, and the three that lose most; equal kernels are one."""
    done = subprocess.run([HONE, "bench", f"{MODELS}/{name}.onnx", "--profile", "--json", "--seconds", "1"],
                          capture_output=True, text=True)
    if done.returncode:
        return {"error": done.stderr.strip()[-300:]}
    result = json.loads(done.stdout)
    functions = {}
    for k in result["kernels"]:
        f = functions.setdefault(k["function"], {"nodes": k["nodes"], "driver": k["driver"], "uses": 0, "ms": 0,
                                                 "bound_ms": 0})
        f["uses"] += 1
        f["ms"] += k["ms"]
        f["bound_ms"] += k["bound_ms"]
    worst = sorted(functions.values(), key=lambda f: f["bound_ms"] - f["ms"])[:3]
    return {"run_ms": result["run_ms"], "bound_ms": sum(f["bound_ms"] for f in functions.values()), "worst": worst}


def measure(name, threads, engines, rounds, seconds, patience):
    """{engine: {p50_ms, p90_ms, runs, foreign, error_vs_ort, agrees} or {error}}, interleaved."""
    calls, results, times = {}, {}, {}
    for engine in engines:
        try:
            calls[engine], results[engine] = make(engine, name, threads)
            calls[engine]()
        except Exception as error:  # an engine that does not take the model is a row of the table
            calls.pop(engine, None)
            times[engine] = {"error": f"{type(error).__name__}: {error}"[:300]}
    samples, foreign = {engine: [] for engine in calls}, dict.fromkeys(calls, 0.0)
    for _ in range(rounds):
        for engine, call in calls.items():
            taken, share = patience.quietly(lambda: patience.latencies(call, seconds, threads), threads)
            samples[engine] += taken
            foreign[engine] = max(foreign[engine], share)
    for engine, taken in samples.items():
        times[engine] = {"p50_ms": float(np.percentile(taken, 50)) * 1e3,
                         "p90_ms": float(np.percentile(taken, 90)) * 1e3, "runs": len(taken), "foreign": foreign[engine]}
        if "ort" in calls:
            reference = results["ort"]
            worst = np.abs(np.asarray(results[engine]) - reference).max() / max(np.abs(reference).max(), 1e-30)
            times[engine]["error_vs_ort"] = float(worst)
            times[engine]["agrees"] = bool(worst <= TOLERANCE)  # false for NaN too
    return times


def describe_machine():
    lscpu = dict(line.split(":", 1) for line in subprocess.check_output(["lscpu"], text=True).splitlines()
                 if ":" in line)
    lscpu = {k.strip(): v.strip() for k, v in lscpu.items()}
    keys = ["Model name", "CPU family", "Model", "CPU(s)", "L1d cache", "L2 cache", "L3 cache", "Hypervisor vendor"]
    peaks = json.loads(subprocess.check_output([f"{OUT}/machine"], text=True))
    return {"cpu": {k: lscpu[k] for k in keys if k in lscpu}, "kernel": platform.release(), **peaks}


def versions(engines):
    from importlib.metadata import version

    found = {"hone": subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True,
                                    text=True).stdout.strip()}
    return found | {package: version(package) for package in {PACKAGES[e]: 0 for e in engines}}


def bench_model(name, engines, options):
    with open(f"{MODELS}/{name}.json") as f:
        entry = {"gflop": json.load(f)["gflop"], "threads": {}, "cold": {}}
    entry["compile"], entry["compile"]["foreign"] = options.patience.quietly(lambda: compile_model(name))
    missing = [] if "error" not in entry["compile"] else ["hone", "hone-c"]
    for threads in options.threads:
        t = measure(name, threads, [e for e in engines if e not in missing], options.rounds, options.seconds,
                    options.patience)
        entry["threads"][str(threads)] = t | {e: entry["compile"] for e in missing[:1]}
        print(name, f"{threads}T", {e: round(t[e]["p50_ms"], 4) if "p50_ms" in t[e] else t[e]["error"] for e in t},
              "disturbed" if any(t[e].get("foreign", 0) > QUIET for e in t) else "", flush=True)
    if not missing:
        entry["profile"], entry["profile"]["foreign"] = options.patience.quietly(lambda: profile(name))
    for engine in ["hone-c", *engines]:
        if engine not in missing and engine != "ov-default":
            entry["cold"][engine], entry["cold"][engine]["foreign"] = options.patience.quietly(
                lambda: cold(engine, name))
    return entry


def rounded(x):
    """Four digits are more than a measurement has."""
    if isinstance(x, float):
        return float(f"{x:.4g}")
    if isinstance(x, dict):
        return {k: rounded(v) for k, v in x.items()}
    if isinstance(x, list):
        return [rounded(v) for v in x]
    return x


def save(result, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    models = ",\n".join(f"{json.dumps(n)}: {json.dumps(rounded(m))}" for n, m in result["models"].items())
    head = json.dumps({k: rounded(v) for k, v in result.items() if k != "models"}, indent=1)
    with open(path + ".json", "w") as f:
        f.write(f'{head[:-2]},\n "models": {{\n{models}\n}}}}\n')
    for suffix, text in ((".md", report.markdown(result, QUIET)), (".svg", report.chart(result))):
        with open(path + suffix, "w") as f:
            f.write(text)
    print(report.markdown(result, QUIET))


def main():
    parser = argparse.ArgumentParser(prog="./dev bench")
    parser.add_argument("--quick", action="store_true", help="four models, less time for each")
    parser.add_argument("--models", type=lambda text: text.split(","), help="A,B,..")
    parser.add_argument("--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each engine in each round")
    parser.add_argument("--patience", type=lambda text: Patience(float(text)), default=Patience(120),
                        help="seconds to wait for others to be quiet")
    parser.add_argument("--with", choices=MORE, action="append", default=[], dest="more", help="one more peer")
    parser.add_argument("--report", metavar="JSON", help="write the table and chart of an earlier result again")
    parser.add_argument("--list", action="store_true", help="print the models that would be measured")
    options = parser.parse_args()
    names = options.models or (QUICK if options.quick else list(INPUTS))
    if options.list:
        return print("\n".join([] if options.report else names))
    if options.report:
        with open(options.report) as f:
            return save(json.load(f), options.report.removesuffix(".json"))
    engines = [e for e in ENGINES + options.more if usable(e)]
    result = {"date": datetime.date.today().isoformat(), "machine": describe_machine(), "versions": versions(engines),
              "threads": options.threads, "rounds": options.rounds, "seconds": options.seconds, "engines": engines,
              "models": {}}
    for name in names:
        result["models"][name] = bench_model(name, engines, options)
    cpu = result["machine"]["cpu"]
    slug = "-".join(f"{cpu['Model name']} {cpu['CPU family']} {cpu['Model']}".lower().split())
    save(result, f"{ROOT}/bench/results/{result['date']}-{slug}" + ("-quick" if options.quick else ""))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cold"]:
        cold_child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()
