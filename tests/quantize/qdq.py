"""Makes the models qdq_*: small networks quantized by onnxruntime.quantization, and what ONNX Runtime computes of them without
optimizations (made with onnx 1.23.2 and onnxruntime 1.32.0).

    python3 tests/quantize/qdq.py      # needs both packages
"""
import os
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper
from onnxruntime import quantization as q

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(7)


def weight(name, *shape):
    array = rng.standard_normal(shape) * rng.uniform(0.2, 2, shape[:1] + (1,) * (len(shape) - 1))
    return numpy_helper.from_array((array / np.sqrt(np.prod(shape[1:]))).astype(np.float32), name)


def image():
    """Convolutions (plain, strided, grouped), a residual, pools and a linear layer."""
    w = [weight("w1", 16, 3, 3, 3), weight("b1", 16), weight("w2", 16, 16, 3, 3), weight("w3", 32, 8, 3, 3), weight("b3", 32),
         weight("w4", 10, 32), weight("b4", 10)]
    n = [h.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]), h.make_node("Relu", ["c1"], ["r1"]),
         h.make_node("Conv", ["r1", "w2"], ["c2"], pads=[1, 1, 1, 1]), h.make_node("Add", ["c2", "r1"], ["a2"]),
         h.make_node("MaxPool", ["a2"], ["p2"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
         h.make_node("Conv", ["p2", "w3", "b3"], ["c3"], strides=[2, 2], group=2), h.make_node("Relu", ["c3"], ["r3"]),
         h.make_node("GlobalAveragePool", ["r3"], ["g3"]), h.make_node("Flatten", ["g3"], ["f3"]),
         h.make_node("Gemm", ["f3", "w4", "b4"], ["y"], transB=1)]
    return n, w, ["N", 3, 12, 12], (2, 3, 12, 12), ["N", 10]


def tokens():
    """A transformer's feed-forward part and a projection to heads."""
    w = [weight("g", 32), weight("b", 32), weight("w1", 32, 64), weight("b1", 64), weight("w2", 64, 32), weight("w3", 32, 32)]
    n = [h.make_node("LayerNormalization", ["x", "g", "b"], ["n"]), h.make_node("MatMul", ["n", "w1"], ["m1"]),
         h.make_node("Add", ["m1", "b1"], ["a1"]), h.make_node("Relu", ["a1"], ["r1"]),
         h.make_node("MatMul", ["r1", "w2"], ["m2"]), h.make_node("Add", ["m2", "x"], ["a2"]),
         h.make_node("MatMul", ["a2", "w3"], ["m3"]),
         h.make_node("Reshape", ["m3", "shape"], ["h3"]), h.make_node("Transpose", ["h3"], ["y"], perm=[0, 2, 1, 3])]
    w.append(numpy_helper.from_array(np.array([0, 0, 4, 8], np.int64), "shape"))
    return n, w, ["N", "L", 32], (2, 7, 32), ["N", 4, "L", 8]


class Reader(q.CalibrationDataReader):
    def __init__(self, shape):
        self.left = [rng.standard_normal(shape).astype(np.float32) for _ in range(8)]

    def get_next(self):
        return {"x": self.left.pop()} if self.left else None


def case(name, make, activations, per_channel):
    nodes, weights, dims, shape, out = make()
    graph = h.make_graph(nodes, "g", [h.make_tensor_value_info("x", T.FLOAT, dims)],
                         [h.make_tensor_value_info("y", T.FLOAT, out)], weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=9)
    folder = os.path.join(here, "qdq_" + name)
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        onnx.save(model, work + "/f32.onnx")
        q.quantize_static(work + "/f32.onnx", folder + "/model.onnx", Reader(shape), quant_format=q.QuantFormat.QDQ,
                          per_channel=per_channel, activation_type=activations, weight_type=q.QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(folder + "/model.onnx", options, providers=["CPUExecutionProvider"])
    x = rng.standard_normal(shape).astype(np.float32)
    made = onnx.load(folder + "/model.onnx")
    last = next(n for n in made.graph.node if n.output[0] == "y")
    scale = next(numpy_helper.to_array(i) for i in made.graph.initializer if i.name == last.input[1])
    np.save(folder + "/x.npy", x)
    np.save(folder + "/y.npy", session.run(None, {"x": x})[0])
    np.save(folder + "/step.npy", scale)


case("image", image, q.QuantType.QUInt8, True)
case("image_signed", image, q.QuantType.QInt8, False)
case("tokens", tokens, q.QuantType.QUInt8, True)
case("tokens_signed", tokens, q.QuantType.QInt8, False)
sys.exit(0)
