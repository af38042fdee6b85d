"""early_exit.py: what exits make of the trained models: for each rule, how often the class is the full model's on inputs that were
held out, and the mean latency beside the full model's. hone measures both (--report with --held-out): the compiled results in one
process, input by input, one thread.

    early_exit.py [--json] [--models A,B] [--agree A]

HONE is the command (default: the release build's)."""
import argparse
import json
import os
import sys

import compress

RULES = ("confidence", "entropy", "margin", "patience")


def rows(names, agree):
    """A result for each model and rule; where no exit pays, hone warns and keeps the full model."""
    for name in names:
        model = compress.Model(name)
        for rule in RULES:
            wanted = agree or compress.TRAINED[name][1].split("=")[1]
            options = ["--early-exit", f"agree={wanted},rule={rule}"]
            _, report, said = compress.measure(model, f"exit-{rule}", options)
            for kind in ("error:", "warning:"):
                if message := compress.first(said, kind):
                    print(f"{name}, {rule}: {message}", file=sys.stderr)
            if report:
                yield {"model": name, "rule": rule, "wanted": float(wanted), "agreement": report["agreement"],
                       "latency_ratio": compress.ratio(report, "latency")}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", metavar="A,B", default=",".join(compress.TRAINED))
    parser.add_argument("--agree", metavar="A")
    options = parser.parse_args()
    names = options.models.split(",")
    if unknown := [name for name in names if name not in compress.TRAINED]:
        sys.exit(f"error: not a trained model: {unknown[0]} (there are {', '.join(compress.TRAINED)})")
    os.makedirs(compress.WORK, exist_ok=True)
    results = list(rows(names, options.agree))
    if options.json:
        return print(json.dumps({"results": results}))
    print(f"{'model':10} {'rule':12} {'wanted':>7} {'agreement':>9} {'latency':>8}   (of the full model's)")
    for r in results:
        print(f"{r['model']:10} {r['rule']:12} {r['wanted']:7.3f} {r['agreement']:9.4f} {r['latency_ratio']:8.3f}")


if __name__ == "__main__":
    main()
