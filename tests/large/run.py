"""run.py [--full]: compiles a large model of each form of make.py (without --full: of the smaller one) and looks at what the
weights cost: the peak memory of hone, and of the linker it starts, beside the model's size. The compiler itself takes 70 MB here.
The time is printed, not judged."""
import os
import subprocess
import sys
import tempfile
import time

import make

here = os.path.dirname(os.path.abspath(__file__))
command = os.environ.get("HONE", os.path.join(here, "../../build/release/bin/hone"))

# Peak memory that is allowed, times the model. Products: the model is mapped, packed piece by piece, and given back; nothing of
# it is copied, by the linker neither. Convolutions: transposed copies, while the model is given back, so that it counts once.
FORMS = {"convolutions": 1.9, "products": 0.4}


def peak_of(*words):
    """Runs it; the largest resident set, in bytes, of the process and of those it waited for."""
    child = subprocess.Popen(words)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{words[0]} failed")
    return usage.ru_maxrss * 1024


def checks_of(form, most, folder):
    model, library = folder + "/large.onnx", folder + "/large.so"
    make.main(model, form)
    before = time.time()
    peak = peak_of(command, "compile", model, "-o", library)
    seconds, size, made = time.time() - before, os.path.getsize(model), os.path.getsize(library)
    print(f"{form}: model {size / 1e6:.0f} MB, library {made / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB ({peak / size:.2f} x), {seconds:.2f} s")
    return {f"{form}: the library holds the weights once": made < size * 1.01,
            f"{form}: peak memory is under {most} times the model": peak < size * most}


checks = {}
for form, most in FORMS.items():
    if form == "convolutions" or "--full" in sys.argv:
        with tempfile.TemporaryDirectory() as folder:
            checks |= checks_of(form, most, folder)
failed = [name for name, ok in checks.items() if not ok]
for name in failed:
    print("failed:", name)
print(f"{len(checks) - len(failed)} passed, {len(failed)} failed, 0 skipped")
sys.exit(1 if failed else 0)
