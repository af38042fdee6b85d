"""Compiles a 430 MB model and looks at what the weights cost: peak memory of hone and of the linker it starts must stay under
2.5 times the model. The time is printed, not judged."""
import os
import resource
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
command = os.environ.get("HONE", os.path.join(here, "../../build/release/bin/hone"))
with tempfile.TemporaryDirectory() as folder:
    model = folder + "/large.onnx"
    subprocess.run([sys.executable, os.path.join(here, "make.py"), model], check=True)
    before = time.time()
    subprocess.run([command, "compile", model, "-o", folder + "/large.so"], check=True)
    seconds, peak = time.time() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    size, library = os.path.getsize(model), os.path.getsize(folder + "/large.so")
    checks = {"the library holds the weights once": library < size * 1.01,
              "peak memory is under 2.5 times the model": peak < size * 2.5}
    print(f"model {size / 1e6:.0f} MB, library {library / 1e6:.0f} MB, peak {peak / 1e6:.0f} MB ({peak / size:.2f} x), {seconds:.2f} s")
failed = [name for name, ok in checks.items() if not ok]
for name in failed:
    print("failed:", name)
print(f"{len(checks) - len(failed)} passed, {len(failed)} failed, 0 skipped")
sys.exit(1 if failed else 0)
