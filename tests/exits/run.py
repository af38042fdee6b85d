"""Early exit end to end: models of examples/ are given exits from calibration inputs and run on inputs that were held out."""
import json
import math
import os
import pty
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(here, "..", "support")]
from checks import check, command, finish, skip, top  # noqa: E402
import fixed  # noqa: E402
import heads  # noqa: E402
import hone  # noqa: E402
import texts  # noqa: E402


def least_rate(wrong, count):
    """The lower end of Clopper and Pearson's interval at 95 %: what rate of disagreement these many show at least."""
    low, high = 1e-9, 1 - 1e-9
    for _ in range(50):
        p = (low + high) / 2
        below = sum(math.exp(math.lgamma(count + 1) - math.lgamma(k + 1) - math.lgamma(count - k + 1)
                             + k * math.log(p) + (count - k) * math.log1p(-p)) for k in range(wrong))
        low, high = (p, high) if 1 - below < 0.05 else (low, p)
    return low


def thresholds(model, count, value):
    for i in range(count):
        model.set_param(f"exit.{i}.threshold", value)


def trained(folder, name, rule, agree):
    """The agreement held out does not contradict the wanted one, most leave early, and off means the full model."""
    data = os.path.join(folder, name)
    if not os.path.exists(data):
        os.mkdir(data)
        subprocess.run([sys.executable, f"{top}/examples/{name}/data.py", data], stderr=subprocess.DEVNULL)
    if not os.path.exists(data + "/heldout.npz"):
        skip(f"{name}: its data cannot be made here")
        return
    library = f"{data}/{rule}-{agree}.so"  # one path is loaded once
    subprocess.run([command, "compile", f"{top}/examples/{name}/model.onnx", "-o", data + "/full.so"], check=True)
    subprocess.run([command, "compile", f"{top}/examples/{name}/model.onnx", "-o", library, "--early-exit",
                    f"agree={agree},rule={rule}", "--calibrate", data + "/calibration.npz", "--report",
                    data + "/report.json"], check=True, stderr=subprocess.DEVNULL)
    full, exits = hone.Model(data + "/full.so"), hone.Model(library)
    held = np.load(data + "/heldout.npz")
    inputs = [held[i["name"]] for i in full.inputs]
    wanted = np.atleast_1d(full(*inputs))
    wanted = wanted[0] if wanted.ndim == 3 else wanted
    y, index, confidence = exits(*inputs)
    count, last = len(y), index.max()
    wrong = int((y.argmax(1) != wanted.argmax(1)).sum())
    print(f"{name}, {rule}: {wrong} of {count} differ, exits {np.bincount(index)}")
    check(f"{name}, {rule}: agreement", least_rate(wrong, count) <= 1 - agree)
    check(f"{name}, {rule}: most leave early", (index < last).mean() > 0.5)
    check(f"{name}, {rule}: the last rows are the full model's", np.array_equal(y[index == last], wanted[index == last]))
    for rows in (1, 2, 7):
        part = exits(*[x[:rows] for x in inputs])
        check(f"{name}, {rule}: {rows} rows alone leave as in the batch", np.array_equal(part[1], index[:rows]))
        check(f"{name}, {rule}: {rows} rows alone answer alike", np.allclose(part[0], y[:rows], rtol=1e-4, atol=1e-4))
    thresholds(exits, last, 2)
    off, none, _ = exits(*inputs)
    check(f"{name}, {rule}: off is the full model", np.array_equal(off, wanted) and (none == last).all())
    thresholds(exits, last, 0)
    check(f"{name}, {rule}: forced at the first exit", (exits(*inputs)[1] == 0).all())
    with open(data + "/report.json") as file:
        report = json.load(file)["early_exit"]
    curves = report["curves"]
    check(f"{name}: a curve for each rule", {c["rule"] for c in curves} == {"confidence", "entropy", "margin", "patience"})
    check(f"{name}: points with work and time", all(0 < p["macs"] <= 1.1 and p["latency"] > 0 for c in curves for p in c["points"]))
    check(f"{name}: what each exit costs was measured", all(math.isfinite(e["exit_latency"]) for e in report["exits"]))


def gives(what, text, samples, *more):
    done = subprocess.run([command, "compile", f"{top}/examples/digits/model.onnx", "-o", "/dev/null/x.so", "--calibrate",
                           samples, *(more or ("--early-exit", "agree=0.9"))], capture_output=True, text=True)
    errors = done.stderr.count("error:")
    check(f"{what}: {done.stderr}", done.returncode not in (0, 70) and text in done.stderr and errors == 1)


def messages(folder):
    images = np.load(f"{top}/examples/digits/images.npy")

    def saved(name, array):
        np.save(f"{folder}/{name}.npy", array)
        return f"{folder}/{name}.npy"

    nan = images.copy()
    nan[7, 0, 3, 3] = np.nan
    gives("wrong type", "expected f32, found f64", saved("f64", images.astype(np.float64)))
    gives("wrong rank", "expected rank 4", saved("rank", images[:, 0]))
    gives("wrong shape", "axis 2 has 7", saved("shape", images[:, :, 1:]))
    gives("no samples", "axis 0 has 0", saved("none", images[:0]))
    gives("NaN", "has NaN", saved("nan", nan))
    gives("unknown input", "no input \"other\"", "other=" + saved("good", images))
    gives("no such file", "no such file", folder + "/nothing.npz")
    gives("too few samples", "needs 598 samples", saved("good", images), "--early-exit", "agree=0.99")
    gives("a wrong option", "rule=confidence", saved("good", images), "--early-exit", "rule=guess")
    gives("an agreement outside 0..1", "agree=A with 0 < A < 1", saved("good", images), "--early-exit", "agree=1.5")
    gives("a sparsity outside 0..1", "--prune", saved("good", images), "--prune", "1.5")
    gives("nothing to prune", "--prune", saved("good", images), "--prune", "ffn=0.5")
    np.savez(folder + "/twice.npz", image=images[:2], other=images[:2])
    gives("an array too many", "no input \"other\"", folder + "/twice.npz")
    with open(folder + "/bad.npz", "wb") as file:
        file.write(b"PK\5\6" + b"\xff" * 18)
    gives("a broken archive", "not a readable .npz", folder + "/bad.npz")


def archives(folder):
    """Stored, deflated, in a folder and by name: the same library."""
    images = np.load(f"{top}/examples/digits/images.npy")
    os.mkdir(folder + "/by-name")
    np.savez(folder + "/stored.npz", image=images)
    np.savez_compressed(folder + "/packed.npz", image=images)
    np.save(folder + "/by-name/image.npy", images)
    texts = []
    for word in ("stored.npz", "packed.npz", "by-name"):
        subprocess.run([command, "compile", f"{top}/examples/digits/model.onnx", "-o", f"{folder}/a.hir", "--early-exit",
                        "agree=0.9", "--calibrate", f"{folder}/{word}"], check=True, stderr=subprocess.DEVNULL)
        with open(folder + "/a.hir") as file:
            texts.append(file.read())
    check("exits of the digits model", "exit.0.threshold" in texts[0])
    check("archives alike", texts[0] == texts[1] == texts[2])
    with zipfile.ZipFile(folder + "/packed.npz") as z:
        check("an archive that is packed", z.infolist()[0].compress_type == zipfile.ZIP_DEFLATED)


ALL = ("--prune", "ffn=0.25", "--quantize", "int8", "--early-exit", "agree=0.95")


def composed(folder, name):
    """Pruned, quantized and with exits in one command: the same text twice, which reads back to itself; the exits agree with
    the model that is only pruned and quantized, and off they are that model."""
    data, words = f"{folder}/{name}", ["--calibrate", f"{folder}/{name}/calibration.npz"]
    if not os.path.exists(data + "/heldout.npz"):
        return  # trained() has said so
    path, both = f"{top}/examples/{name}/model.onnx", []
    for i in range(2):
        out = f"{data}/{i}"
        os.mkdir(out)
        subprocess.run([command, "compile", path, "-o", out + "/a.hir", "--stop-after", "early_exit", "--verify-each", *ALL, *words],
                       check=True, stderr=subprocess.DEVNULL)
        both.append([open(f"{out}/{file}", "rb").read() for file in sorted(os.listdir(out))])
    check(f"{name}, composed: the same bytes twice", both[0] == both[1])
    text = both[0][0]
    check(f"{name}, composed: all three passes did something", b"exit.0.threshold" in text and b"i8" in text)
    os.mkdir(data + "/again")
    subprocess.run([command, "compile", data + "/0/a.hir", "-o", data + "/again/a.hir", "--passes="], check=True)
    with open(data + "/again/a.hir", "rb") as file:
        again = file.read()
    check(f"{name}, composed: the text reads back to itself", again == text)
    texts.texts(command, data, check, path, *ALL, *words)
    library, base = data + "/composed.so", data + "/base.so"
    subprocess.run([command, "compile", path, "-o", library, "--verify-each", *ALL, *words], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([command, "compile", path, "-o", base, *ALL[:4], *words], check=True, stderr=subprocess.DEVNULL)
    exits, full = hone.Model(library), hone.Model(base)
    held = np.load(data + "/heldout.npz")
    inputs = [held[i["name"]] for i in full.inputs]
    wanted = np.atleast_1d(full(*inputs))
    wanted = wanted[0] if wanted.ndim == 3 else wanted
    y, index, _ = exits(*inputs)
    wrong = int((y.argmax(1) != wanted.argmax(1)).sum())
    print(f"{name}, composed: {wrong} of {len(y)} differ, exits {np.bincount(index)}")
    check(f"{name}, composed: agreement", least_rate(wrong, len(y)) <= 0.05)
    check(f"{name}, composed: some leave early", (index < index.max()).mean() > 0.3)


def digits_command(folder, out):
    return [command, "compile", f"{top}/examples/digits/model.onnx", "-o", out, "--prune", "channels=0.25", *ALL[2:], "--calibrate",
            f"{top}/examples/digits/images.npy", "--report", folder + "/report.json"]


def interrupted(folder):
    """Ctrl-C at any moment leaves all outputs or none of what was being written, and ends soon."""
    dice = random.Random(1)
    os.mkdir(folder + "/stopped")
    start, words = time.monotonic(), digits_command(folder + "/stopped", folder + "/stopped/x.so")
    subprocess.run(words, check=True, stderr=subprocess.DEVNULL)
    whole, stopped = time.monotonic() - start, 0
    for _ in range(12):
        for file in os.listdir(folder + "/stopped"):
            os.remove(f"{folder}/stopped/{file}")
        job = subprocess.Popen(words, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        time.sleep(dice.uniform(0, whole))
        job.send_signal(signal.SIGINT)
        status = job.wait(timeout=30)
        stopped += status == -signal.SIGINT
        left = set(os.listdir(folder + "/stopped"))
        check(f"interrupted: status {status}", status in (0, -signal.SIGINT))
        check(f"interrupted: left {left}", left <= {"report.json", "x.so"} and (status != 0 or len(left) == 2))
    check(f"interrupted: {stopped} of 12 runs were", stopped >= 3)


def interrupted_while(folder, seen):
    """Ctrl-C while the command is at this place, which its bar tells: nothing is left, not in the folder for temporary files either."""
    place, temporary = f"{folder}/at", f"{folder}/temporary"
    for path in (place, temporary):
        os.makedirs(path, exist_ok=True)
    words = [command, "compile", f"{top}/examples/digits/model.onnx", "-o", place + "/x.so", "--early-exit", "agree=0.9",
             "--calibrate", "random:20000", "--report", place + "/report.json"]
    main, terminal = pty.openpty()
    job = subprocess.Popen(words, stderr=terminal, env={**os.environ, "TMPDIR": temporary},
                           preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    os.close(terminal)
    text = b""
    try:
        while part := os.read(main, 4096):
            if seen not in text and seen in text + part:
                job.send_signal(signal.SIGINT)
            text += part
    except OSError:  # the terminal's other end is closed
        pass
    os.close(main)
    status = job.wait(timeout=60)
    check(f"interrupted at {seen}: status {status}, {text[-200:]}", seen in text and status == -signal.SIGINT)
    check(f"interrupted at {seen}: left {os.listdir(place)}, {os.listdir(temporary)}", not os.listdir(place) + os.listdir(temporary))


def progress(folder):
    """A bar on a terminal, none in a file."""
    words = digits_command(folder, folder + "/p.so")
    quiet = subprocess.run(words, check=True, capture_output=True)
    check("no bar in a file", b"calibrating" not in quiet.stderr and not quiet.stdout)
    main, terminal = pty.openpty()
    job = subprocess.Popen(words, stderr=terminal)
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(main, 4096):
            seen += part
    except OSError:  # the terminal's other end is closed
        pass
    os.close(main)
    check("a terminal's job is done", job.wait() == 0)
    check("a bar on a terminal", b"\rcalibrating [" in seen and b"#] 360/360" in seen)


with tempfile.TemporaryDirectory() as folder:
    messages(folder)
    progress(folder)
    interrupted(folder)
    for seen in (b"calibrating [", b"] 20000/20000", b"timing [", b"] 10/10"):
        interrupted_while(folder, seen)
    archives(folder)
    heads.heads(command, folder, check)
    fixed.fixed(command, top, folder, check)
    for rule in ("confidence", "entropy", "margin", "patience"):
        trained(folder, "glyphs", rule, 0.98)
    trained(folder, "glyphs", "confidence", 0.99)
    trained(folder, "language", "confidence", 0.99)
    texts.texts(command, folder, check, f"{top}/examples/digits/model.onnx", "--prune", "channels=0.25", *ALL[2:], "--calibrate",
                f"{top}/examples/digits/images.npy")
    composed(folder, "glyphs")
    composed(folder, "language")
finish()
