"""models.py DIR [NAME..]: writes the benchmark models as ONNX files, without a training framework.

Weights are random with fixed seeds and scaled so that activations stay near 1; batch normalization is
already folded into the convolutions, as exporters do. Beside each file a .json holds its GFLOP: two
for each multiplication of a Conv, Gemm, MatMul or LSTM. Architectures: He 2016 (resnet), Sandler 2018
(mobilenet_v2), Iandola 2016 and torchvision's 1.1 (squeezenet), Devlin 2019 (bert).
"""
import json
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Builder:
    """Appends nodes to a graph; values are names, their shapes are in self.shape."""

    def __init__(self, name, seed):
        self.name, self.random = name, np.random.default_rng(seed)
        self.nodes, self.constants, self.shape, self.mults = [], [], {}, 0
        self.inputs = []

    def input(self, name, shape, dtype=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        self.shape[name] = tuple(shape)
        return name

    def const(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        self.shape[name] = array.shape
        return name

    def weight(self, *shape, fan_in=None, gain=1.0):
        scale = gain / np.sqrt(fan_in) if fan_in else 0.1
        return self.const((self.random.standard_normal(shape) * scale).astype(np.float32))

    def node(self, op, inputs, shape, **attributes):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [out], f"{op}_{len(self.nodes)}", **attributes))
        self.shape[out] = tuple(shape)
        return out

    def unary(self, op, x, **attributes):
        return self.node(op, [x], self.shape[x], **attributes)

    def binary(self, op, a, b):
        return self.node(op, [a, b], np.broadcast_shapes(self.shape[a], self.shape[b]))

    def window(self, x, kernel, stride, pad, channels):
        n, _, h, w = self.shape[x]
        return (n, channels, (h + 2 * pad - kernel) // stride + 1, (w + 2 * pad - kernel) // stride + 1)

    def conv(self, x, channels, kernel, stride=1, pad=0, group=1, gain=1.4):
        c = self.shape[x][1] // group
        shape = self.window(x, kernel, stride, pad, channels)
        self.mults += int(np.prod(shape)) * c * kernel * kernel
        w = self.weight(channels, c, kernel, kernel, fan_in=c * kernel * kernel, gain=gain)
        return self.node("Conv", [x, w, self.weight(channels)], shape, kernel_shape=[kernel] * 2,
                         strides=[stride] * 2, pads=[pad] * 4, group=group)

    def max_pool(self, x, kernel, stride, pad=0):
        return self.node("MaxPool", [x], self.window(x, kernel, stride, pad, self.shape[x][1]),
                         kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def relu6(self, x):
        low, high = self.const(np.float32(0)), self.const(np.float32(6))
        return self.node("Clip", [x, low, high], self.shape[x])

    def mean_flat(self, x):
        n, c = self.shape[x][:2]
        x = self.node("GlobalAveragePool", [x], (n, c, 1, 1))
        return self.node("Flatten", [x], (n, c), axis=1)

    def gemm(self, x, n, gain=1.0):
        m, k = self.shape[x]
        self.mults += m * n * k
        return self.node("Gemm", [x, self.weight(n, k, fan_in=k, gain=gain), self.weight(n)], (m, n), transB=1)

    def matmul(self, a, b):
        x, y = self.shape[a], self.shape[b]
        shape = (*np.broadcast_shapes(x[:-2], y[:-2]), x[-2], y[-1])
        self.mults += int(np.prod(shape)) * x[-1]
        return self.node("MatMul", [a, b], shape)

    def linear(self, x, n):
        k = self.shape[x][-1]
        return self.binary("Add", self.matmul(x, self.weight(k, n, fan_in=k)), self.weight(n))

    def reshape(self, x, *shape):
        return self.node("Reshape", [x, self.const(np.array(shape, np.int64))], shape)

    def transpose(self, x, *perm):
        return self.node("Transpose", [x], [self.shape[x][p] for p in perm], perm=perm)

    def layer_norm(self, x):
        n = self.shape[x][-1]
        scale = self.const((1 + 0.1 * self.random.standard_normal(n)).astype(np.float32))
        return self.node("LayerNormalization", [x, scale, self.weight(n)], self.shape[x], axis=-1, epsilon=1e-5)

    def gelu(self, x):
        erf = self.unary("Erf", self.binary("Div", x, self.const(np.float32(np.sqrt(2)))))
        x = self.binary("Mul", x, self.binary("Add", erf, self.const(np.float32(1))))
        return self.binary("Mul", x, self.const(np.float32(0.5)))

    def save(self, folder, out):
        outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, self.shape[out])]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        onnx.save(model, f"{folder}/{self.name}.onnx")
        with open(f"{folder}/{self.name}.json", "w") as f:
            json.dump({"gflop": 2 * self.mults / 1e9}, f)


def mlp(b):
    x = b.input("x", (1, 784))
    for n in (512, 256):
        x = b.unary("Relu", b.gemm(x, n, gain=1.4))
    return b.gemm(x, 10)


def resnet(b, blocks, bottleneck):
    x = b.unary("Relu", b.conv(b.input("x", (1, 3, 224, 224)), 64, 7, 2, 3))
    x = b.max_pool(x, 3, 2, 1)
    for stage, count in enumerate(blocks):
        width = 64 << stage
        out = width * (4 if bottleneck else 1)
        for i in range(count):
            stride = 2 if stage and not i else 1
            if bottleneck:
                y = b.unary("Relu", b.conv(x, width, 1))
                y = b.unary("Relu", b.conv(y, width, 3, stride, 1))
                y = b.conv(y, out, 1, gain=0.5)
            else:
                y = b.unary("Relu", b.conv(x, width, 3, stride, 1))
                y = b.conv(y, out, 3, 1, 1, gain=0.5)
            if b.shape[x] != b.shape[y]:
                x = b.conv(x, out, 1, stride, gain=1.0)
            x = b.unary("Relu", b.binary("Add", y, x))
    return b.gemm(b.mean_flat(x), 1000)


def mobilenet_v2(b):
    x = b.relu6(b.conv(b.input("x", (1, 3, 224, 224)), 32, 3, 2, 1))
    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expand, channels, count, first_stride in rows:
        for i in range(count):
            c, stride, y = b.shape[x][1], 1 if i else first_stride, x
            if expand > 1:
                y = b.relu6(b.conv(y, c * expand, 1))
            y = b.relu6(b.conv(y, c * expand, 3, stride, 1, group=c * expand))
            y = b.conv(y, channels, 1, gain=1.0)
            x = b.binary("Add", x, y) if b.shape[x] == b.shape[y] else y
    return b.gemm(b.mean_flat(b.relu6(b.conv(x, 1280, 1))), 1000)


def squeezenet(b):
    def fire(x, squeeze, expand):
        x = b.unary("Relu", b.conv(x, squeeze, 1))
        one, three = b.unary("Relu", b.conv(x, expand, 1)), b.unary("Relu", b.conv(x, expand, 3, 1, 1))
        n, _, h, w = b.shape[x]
        return b.node("Concat", [one, three], (n, 2 * expand, h, w), axis=1)

    x = b.unary("Relu", b.conv(b.input("x", (1, 3, 224, 224)), 64, 3, 2))
    for sizes in ([(16, 64)] * 2, [(32, 128)] * 2, [(48, 192)] * 2 + [(64, 256)] * 2):
        x = b.max_pool(x, 3, 2)
        for size in sizes:
            x = fire(x, *size)
    return b.mean_flat(b.unary("Relu", b.conv(x, 1000, 1)))


def bert(b, length, layers, width, heads, words):
    ids = b.input("ids", (1, length), TensorProto.INT64)
    x = b.node("Gather", [b.weight(words, width, fan_in=1), ids], (1, length, width), axis=0)
    x = b.layer_norm(b.binary("Add", x, b.weight(1, length, width)))
    size = width // heads
    split = (1, length, heads, size)
    for _ in range(layers):
        q = b.transpose(b.reshape(b.linear(x, width), *split), 0, 2, 1, 3)
        k = b.transpose(b.reshape(b.linear(x, width), *split), 0, 2, 3, 1)
        v = b.transpose(b.reshape(b.linear(x, width), *split), 0, 2, 1, 3)
        scores = b.binary("Div", b.matmul(q, k), b.const(np.float32(np.sqrt(size))))
        y = b.transpose(b.matmul(b.unary("Softmax", scores, axis=-1), v), 0, 2, 1, 3)
        x = b.layer_norm(b.binary("Add", x, b.linear(b.reshape(y, 1, length, width), width)))
        y = b.linear(b.gelu(b.linear(x, 4 * width)), width)
        x = b.layer_norm(b.binary("Add", x, y))
    return x


def lstm(b, length=50, width=128, layers=2):
    x = b.input("x", (length, 1, 64))
    for _ in range(layers):
        n = b.shape[x][-1]
        w, r = b.weight(1, 4 * width, n, fan_in=n), b.weight(1, 4 * width, width, fan_in=width)
        b.mults += length * 4 * width * (n + width)
        y = b.node("LSTM", [x, w, r, b.weight(1, 8 * width)], (length, 1, 1, width), hidden_size=width)
        x = b.node("Squeeze", [y, b.const(np.array([1], np.int64))], (length, 1, width))
    return b.gemm(b.reshape(x, length, width), 10)


MODELS = {
    "mlp_784": mlp,
    "lstm_50": lstm,
    "bert_mini_32": lambda b: bert(b, 32, 4, 256, 4, 30522),
    "bert_base_128": lambda b: bert(b, 128, 12, 768, 12, 30522),
    "squeezenet1_1": squeezenet,
    "mobilenet_v2": mobilenet_v2,
    "resnet18": lambda b: resnet(b, (2, 2, 2, 2), False),
    "resnet50": lambda b: resnet(b, (3, 4, 6, 3), True),
}


def main(folder, names):
    os.makedirs(folder, exist_ok=True)
    for seed, (name, build) in enumerate(MODELS.items()):
        if (not names or name in names) and not os.path.exists(f"{folder}/{name}.json"):
            b = Builder(name, seed)
            b.save(folder, build(b))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
