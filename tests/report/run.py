"""Reports: what a compilation with every pass that changes a model says of it, as JSON and as a page. The page's structure is
checked here; with --full it is opened in headless Chromium, which must find drawings in it and nothing to complain about."""
import html.parser
import json
import os
import re
import subprocess
import sys
import tempfile

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "support"))
from checks import check, command, finish, top  # noqa: E402
digits = f"{top}/examples/digits"
inputs = ["--calibrate", digits + "/images.npy", "--held-out", digits + "/calibration.npy"]
everything = ["--prune", "channels=0.25", "--quantize", "auto", "--max-error", "0.5", "--early-exit", "agree=0.8"]


def compile_with(*words):
    return subprocess.run([command, "compile", *words], capture_output=True, text=True)


class Page(html.parser.HTMLParser):
    """Elements must nest; counts what drawings hold, and collects what would be loaded."""
    void = {"meta", "link", "rect", "line", "polyline"}

    def __init__(self):
        super().__init__()
        self.open, self.drawings, self.loaded, self.scripts, self.headings, self.text = [], [], [], 0, [], ""

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.scripts += tag == "script" or any(name.startswith("on") for name in attrs)
        self.loaded += [value for name, value in attrs.items() if name in ("src", "href") and not value.startswith("data:,")]
        if tag == "svg":
            self.drawings.append(0)
        elif "svg" in self.open:
            self.drawings[-1] += tag in ("rect", "polyline")
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        check(f"</{tag}> closes what is open", self.open and self.open.pop() == tag)

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read_json(folder):
    path = folder + "/r.json"
    done = compile_with(digits + "/model.onnx", "-o", folder + "/r.so", *everything, *inputs, "--report", path)
    check(f"compiled: {done.stderr}", done.returncode == 0)
    with open(path) as file:
        report = json.load(file)
    check("a section for the model and each pass", list(report) == ["model", "prune", "quantize", "early_exit"])
    model = report["model"]
    check("size falls", model["size"]["after"] < 0.6 * model["size"]["before"])
    check("work falls", model["macs"]["after"] < model["macs"]["before"])
    check("latency is measured", model["latency"]["before"] > 0 and model["latency"]["after"] > 0)
    check("on what was held out", model["measured_on"] == "held-out inputs" and
          model["samples"] == len(np.load(digits + "/calibration.npy")))
    check("error and agreement", 0 < model["error"] < 2 and 0 < model["agreement"] <= 1)
    check("a row for each layer", len(report["quantize"]["sensitivity"]) == 4 and
          all(row["node"] for row in report["quantize"]["sensitivity"]))
    return report


def times_gone(report):
    return re.sub(r'"[a-z_]*latency":(\{[^}]*\}|[^,}]*)', "", json.dumps(report, separators=(",", ":")))


def page(folder):
    path = folder + "/r.html"
    done = compile_with(digits + "/model.onnx", "-o", folder + "/r.so", *everything, *inputs, "--report", path)
    check(f"compiled: {done.stderr}", done.returncode == 0)
    with open(path) as file:
        text = file.read()
    p = Page()
    p.feed(text)
    check("all is closed", not p.open)
    check("one heading for each section", p.headings == ["the model", "structured pruning", "quantization", "early exit"])
    check(f"drawings, none empty: {p.drawings}", len(p.drawings) >= 5 and all(p.drawings))
    check("nothing is loaded or run", not p.loaded and not p.scripts and "@import" not in text and "url(" not in text)
    check("light and dark", "prefers-color-scheme:dark" in text)
    return path


def hostile_names(folder):
    """Names of nodes are the model's: they must not become markup."""
    name = "<script>alert(1)</script>&\\\"<svg"
    with open(folder + "/names.hir", "w") as file:
        file.write("func @f(%x: f32[N,64]) -> (%y: f32[N,64]) {\n  %w: f32[64,64] = const random(1)\n"
                   f"  %y: f32[N,64] = matmul(%x, %w) !\"{name}\"\n  return %y\n}}\n")
    done = compile_with(folder + "/names.hir", "-o", folder + "/n.so", "--quantize", "auto", "--max-error", "0.5", "--calibrate",
                        "random:8", "--report", folder + "/n.html")
    check(f"compiled: {done.stderr}", done.returncode == 0)
    with open(folder + "/n.html") as file:
        text = file.read()
    p = Page()
    p.feed(text)
    check("no markup from names", not p.scripts and not p.open and "alert(1)" in p.text)


def messages(folder):
    model = digits + "/model.onnx"
    for what, words, text in (("a wrong suffix", ["--report", folder + "/r.txt"], "expected FILE.json or FILE.html"),
                              ("held-out inputs for nothing", ["--held-out", digits + "/images.npy"], "--held-out is for --report"),
                              ("held-out inputs of a wrong shape", ["--held-out", digits + "/labels.npy", "--report", folder + "/x.json"],
                               "--held-out: input \"image\"")):
        done = compile_with(model, "-o", folder + "/m.so", *words)
        check(f"{what}: {done.stderr}", done.returncode == 2 and text in done.stderr)
    check("no file is left", not [name for name in os.listdir(folder) if name in ("r.txt", "x.json", "m.so")])


def bench():
    """What `./dev bench compress --json` prints."""
    done = subprocess.run([sys.executable, f"{top}/bench/compress.py", "bench", "--json", "--models", "digits"],
                          capture_output=True, text=True)
    rows = json.loads(done.stdout)["results"] if done.returncode == 0 else []
    check(f"bench compress: {done.stderr}", {"int8", "prune macs=0.5"} <= {row["method"] for row in rows})
    for row in rows:
        check(f"figures of {row}", row["model"] == "digits" and 0 < row["size_ratio"] < 1 and row["latency_ratio"] > 0 and
              0 < row["error"] < 2)


def bench_exits():
    """What `./dev bench early-exit --json` prints."""
    done = subprocess.run([sys.executable, f"{top}/bench/early_exit.py", "--json", "--models", "digits", "--agree", "0.9"],
                          capture_output=True, text=True)
    rows = json.loads(done.stdout)["results"] if done.returncode == 0 else []
    check(f"bench early-exit: {done.stderr}", [row["rule"] for row in rows] == ["confidence", "entropy", "margin", "patience"])
    for row in rows:
        check(f"figures of {row}", row["model"] == "digits" and row["wanted"] == 0.9 and 0.7 < row["agreement"] <= 1 and
              row["latency_ratio"] > 0)


def in_chromium(folder, path):
    """A copy with a script that measures what is drawn, since Chromium prints the document as it became."""
    with open(path) as file:
        text = file.read()
    probe = ("<script>const d = [...document.querySelectorAll('svg')].map(s => { const b = s.getBBox();"
             "return b.width > 50 && b.height > 10 && s.getBoundingClientRect().width > 50; });"
             "document.body.setAttribute('data-drawn', d.length + ':' + d.every(x => x));</script>")
    with open(folder + "/probe.html", "w") as file:
        file.write(text.replace("</body>", probe + "</body>"))
    done = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
                           f"--user-data-dir={folder}/profile", "--virtual-time-budget=2000", f"file://{folder}/probe.html"],
                          capture_output=True, text=True, timeout=120)
    found = re.search(r'data-drawn="(\d+):(\w+)"', done.stdout)
    check(f"Chromium draws: {found and found.group(0)}", found and int(found.group(1)) >= 5 and found.group(2) == "true")
    check("the console is silent", "CONSOLE" not in done.stderr)


def same_model(folder):
    """What a report measures leaves no trace in the model, not even in the names of its values."""
    texts = []
    for more in ([], ["--report", folder + "/s.json"]):
        done = compile_with(digits + "/model.onnx", "-o", folder + "/s.hir", *everything, *inputs[:2], *more)
        check(f"compiled: {done.stderr}", done.returncode == 0)
        with open(folder + "/s.hir") as file:
            texts.append(file.read())
    check("the same model with and without a report", texts[0] == texts[1])


with tempfile.TemporaryDirectory() as work:
    check("the same report, but for times", times_gone(read_json(work)) == times_gone(read_json(work)))
    written = page(work)
    same_model(work)
    hostile_names(work)
    messages(work)
    bench()
    bench_exits()
    if "--full" in sys.argv:
        in_chromium(work, written)
finish()
