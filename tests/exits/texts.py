"""What every pass prints, with pruning, quantization and exits in one pipeline: the text reads back, verifies, and prints the same.
Bytes of big constants are not in it: constants of as many random elements stand for them."""
import re
import subprocess


def printed(stderr):
    """(pass, text) for each `# after PASS`."""
    parts = re.split(r"(?m)^# after (\w+)\n", stderr)
    for name, text in zip(parts[1::2], parts[2::2]):
        yield name, text[:text.index("\n}\n") + 3]


def with_data(text):
    numbers = {}
    return re.sub(r"data\(\d+ bytes, ([0-9a-f]+)\)", lambda m: f"random({numbers.setdefault(m[1], len(numbers) + 1)})", text)


def texts(command, folder, check, model, *words):
    path, again = folder + "/text.hir", folder + "/again.hir"
    done = subprocess.run([command, "compile", model, "-o", path, "--verify-each", "--print-after", "all", *words],
                          capture_output=True, text=True)
    check(f"{model}: compiled: {done.stderr[-2000:]}", done.returncode == 0)
    seen = set()
    for name, text in printed(done.stderr):
        text = with_data(text)
        seen.add(name)
        with open(path, "w") as file:
            file.write(text)
        for passes in ("dead_code", ""):
            read = subprocess.run([command, "compile", path, "-o", again, f"--passes={passes}", "--verify-each"],
                                  capture_output=True, text=True)
            check(f"{model} after {name}: reads back and verifies: {read.stderr}", read.returncode == 0)
        with open(again) as file:
            check(f"{model} after {name}: prints the same", file.read() == text)
    check(f"{model}: printed after {seen}", {"prune", "quantize", "early_exit", "integer_products", "layout", "group"} <= seen)
