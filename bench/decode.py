"""decode.py OUT.onnx [LAYERS [WIDTH]]: one step of a decoder that generates text, as ONNX (opset 17).

A LLaMA-like stack (Touvron 2023) for one token, `ids` i64[1,1], at position 128 of its sequence: the keys and values of
the tokens before are inputs, those of this one are outputs. Weights are random with a fixed seed; 4 layers 2048 wide and
a vocabulary of 32000 are 336 million of them, 1.3 GB as f32: the step takes as long as reading them.
"""
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

PAST, HEAD, WORDS = 128, 128, 32000


class Graph:
    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], [], [], []
        self.random = np.random.default_rng(1)

    def op(self, kind, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array):
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *dims):
        scale = np.float32(dims[0] ** -0.5)
        return self.constant(self.random.standard_normal(dims, dtype=np.float32) * scale)

    def output(self, name, of, dims):
        self.nodes.append(helper.make_node("Identity", [of], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))

    def norm(self, x):
        mean = self.op("ReduceMean", self.op("Mul", x, x), axes=[-1])
        root = self.op("Sqrt", self.op("Add", mean, self.constant(np.float32(1e-5))))
        return self.op("Mul", self.op("Div", x, root), self.constant(np.ones(self.width, np.float32)))

    def heads(self, x):
        shape = self.constant(np.array([1, 1, self.width // HEAD, HEAD]))
        return self.op("Transpose", self.op("Reshape", x, shape), perm=[0, 2, 1, 3])

    def cached(self, name, x):
        dims = [1, self.width // HEAD, PAST, HEAD]
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, dims))
        self.output(f"{name}_new", x, [1, self.width // HEAD, 1, HEAD])
        return self.op("Concat", name, x, axis=2)

    def attention(self, layer, x):
        q, k, v = (self.heads(self.op("MatMul", x, self.weight(self.width, self.width))) for _ in range(3))
        k, v = self.cached(f"key{layer}", k), self.cached(f"value{layer}", v)
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.op("Softmax", self.op("Mul", scores, self.constant(np.float32(HEAD ** -0.5))), axis=-1)
        y = self.op("Transpose", self.op("MatMul", scores, v), perm=[0, 2, 1, 3])
        y = self.op("Reshape", y, self.constant(np.array([1, 1, self.width])))
        return self.op("MatMul", y, self.weight(self.width, self.width))

    def feed_forward(self, x):
        hidden = self.width * 11 // 4
        gate, up = (self.op("MatMul", x, self.weight(self.width, hidden)) for _ in range(2))
        gate = self.op("Mul", gate, self.op("Sigmoid", gate))
        return self.op("MatMul", self.op("Mul", gate, up), self.weight(hidden, self.width))

    def build(self, layers, width):
        self.width = width
        self.inputs.append(helper.make_tensor_value_info("ids", TensorProto.INT64, [1, 1]))
        x = self.op("Gather", self.weight(WORDS, width), "ids")
        for layer in range(layers):
            x = self.op("Add", x, self.attention(layer, self.norm(x)))
            x = self.op("Add", x, self.feed_forward(self.norm(x)))
        self.output("logits", self.op("MatMul", self.norm(x), self.weight(width, WORDS)), [1, 1, WORDS])
        graph = helper.make_graph(self.nodes, "decode", self.inputs, self.outputs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main(path, layers="4", width="2048"):
    onnx.save(Graph().build(int(layers), int(width)), path)


if __name__ == "__main__":
    main(*sys.argv[1:])
