"""engines.py: hone and its peers behind one call: make(engine, name, threads) gives (run, output). run() computes the
model once, from the input bound before to the output array bound before."""
import importlib.util
import os
import subprocess
import sys
import time

import numpy as np

from inputs import make_input

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODELS, OUT = f"{ROOT}/build/bench-models", f"{ROOT}/build/bench"
HONE = os.environ.get("HONE", f"{ROOT}/build/release/bin/hone")
PACKAGES = {"hone": "numpy", "ort": "onnxruntime", "ov-f32": "openvino", "ov-default": "openvino", "mnn": "MNN"}
PEERS = ["ort", "ov-f32"]  # those that hone's ratio is to the faster of: they compute in f32, too
ENGINES = ["hone", "ort", "ov-f32", "ov-default"]
MORE = ["mnn"]  # only when asked for (--with): `build/bench-venv/bin/pip install MNN`


def usable(engine):
    return importlib.util.find_spec(PACKAGES[engine]) is not None


def load(engine):
    """Imports what make() of the engine imports, so that it costs nothing there."""
    sys.path.insert(0, f"{ROOT}/python")
    importlib.import_module("hone" if engine == "hone" else PACKAGES[engine])


def make_hone(name, threads, x):
    load("hone")
    import hone

    run, outputs = hone.Model(f"{OUT}/{name}.so", threads).bind(x)
    return run, outputs[0]


def make_ort(name, threads, x):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(f"{MODELS}/{name}.onnx", options, providers=["CPUExecutionProvider"])
    binding, result = session.io_binding(), session.get_outputs()[0]
    y = np.zeros(result.shape, np.int32 if result.type == "tensor(int32)" else np.float32)
    binding.bind_input(session.get_inputs()[0].name, "cpu", 0, x.dtype, x.shape, x.ctypes.data)
    binding.bind_output(result.name, "cpu", 0, y.dtype, y.shape, y.ctypes.data)
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


class MnnOutput:
    """MNN fills a tensor of its own; as an array it is the newest result."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __array__(self, dtype=None, copy=None):
        return np.array(self.tensor.getNumpyData(), dtype)


def make_mnn(name, threads, x):
    path, model = f"{OUT}/{name}.mnn", f"{MODELS}/{name}.onnx"
    if not os.path.exists(path) or os.path.getmtime(path) < os.path.getmtime(model):
        subprocess.run([f"{os.path.dirname(sys.executable)}/mnnconvert", "-f", "ONNX", "--modelFile", model, "--MNNModel",
                        path, "--bizCode", "bench"], check=True, capture_output=True)
    import MNN

    interpreter = MNN.Interpreter(path)
    session = interpreter.createSession({"numThread": threads, "backend": "CPU", "precision": "high"})
    source, result = interpreter.getSessionInput(session), interpreter.getSessionOutput(session)
    kind = MNN.Halide_Type_Int if x.dtype == np.int64 else MNN.Halide_Type_Float
    x = x.astype(np.int32) if x.dtype == np.int64 else x
    layout = MNN.Tensor_DimensionType_Caffe
    given = MNN.Tensor(x.shape, kind, x, layout)
    y = MNN.Tensor(result.getShape(), MNN.Halide_Type_Float, np.zeros(result.getShape(), np.float32), layout)

    def run(keep=(interpreter, x)):
        source.copyFrom(given)
        interpreter.runSession(session)
        result.copyToHostTensor(y)
    return run, MnnOutput(y)


def make(engine, name, threads, x=None):
    x = make_input(name) if x is None else x
    if engine == "mnn":
        return make_mnn(name, threads, x)
    if engine == "hone":
        return make_hone(name, threads, x)
    if engine == "ort":
        return make_ort(name, threads, x)
    return make_openvino(name, threads, x, engine == "ov-f32")


def compile_hone(name, *options):
    """Compiles MODELS/NAME.onnx to OUT/NAME.so: (None or the error, seconds, peak MB)."""
    start = time.perf_counter()
    done = subprocess.run([f"{OUT}/peak", HONE, "compile", f"{MODELS}/{name}.onnx", "-o", f"{OUT}/{name}.so", *options],
                          capture_output=True, text=True)
    error = (done.stderr.strip() or "failed") if done.returncode else None
    return error, time.perf_counter() - start, float(done.stdout.split()[-1])
