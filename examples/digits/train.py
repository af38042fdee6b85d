#!/usr/bin/env python3
"""Trains the digits CNN and writes model.onnx beside this file.

The data is scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set: 1797
real scans of 8x8 pixels. 360 of them, chosen by a seeded shuffle (split.py), are held out; the rest is
trained on, shifted by up to a pixel. The network is written out in NumPy (forward and backward), so
training needs no framework and gives the same weights each time on one machine.

    image [N,1,8,8] -> conv 3x3x16, BatchNormalization, Relu                 (a)
                    -> conv 3x3x16, BatchNormalization, + a, Relu, MaxPool 2x2
                    -> conv 3x3x32, BatchNormalization, Relu, MaxPool 2x2
                    -> Flatten -> Gemm 128x10 -> logits [N,10]
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the same order of sums each time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from split import HELD_OUT, SEED, split

HERE = os.path.dirname(os.path.abspath(__file__))
EPOCHS, BATCH, EPS = 60, 64, 1e-5


class Conv:
    """3x3, padding 1, no bias: BatchNormalization follows."""

    def __init__(self, rng, channels, filters):
        scale = np.sqrt(2 / (9 * channels))
        self.params = [(rng.standard_normal((filters, channels, 3, 3)) * scale).astype(np.float32)]

    def forward(self, x):
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        self.columns = windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, x.shape[1] * 9)
        self.shape = x.shape
        w = self.params[0].reshape(len(self.params[0]), -1)
        return (self.columns @ w.T).reshape(len(x), x.shape[2], x.shape[3], -1).transpose(0, 3, 1, 2)

    def backward(self, dy):
        n, c, h, wd = self.shape
        w = self.params[0]
        rows = dy.transpose(0, 2, 3, 1).reshape(-1, len(w))
        self.grads = [(rows.T @ self.columns).reshape(w.shape)]
        dcols = (rows @ w.reshape(len(w), -1)).reshape(n, h, wd, c, 3, 3)
        dx = np.zeros((n, c, h + 2, wd + 2), np.float32)
        for i in range(3):
            for j in range(3):
                dx[:, :, i:i + h, j:j + wd] += dcols[..., i, j].transpose(0, 3, 1, 2)
        return dx[:, :, 1:-1, 1:-1]


class BatchNorm:
    def __init__(self, channels):
        self.params = [np.ones(channels, np.float32), np.zeros(channels, np.float32)]
        self.mean, self.var = np.zeros(channels, np.float32), np.ones(channels, np.float32)

    def forward(self, x, training):
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
            self.mean += 0.1 * (mean - self.mean)
            self.var += 0.1 * (var - self.var)
        else:
            mean, var = self.mean, self.var
        self.inv = 1 / np.sqrt(var + EPS)
        self.hat = (x - mean[:, None, None]) * self.inv[:, None, None]
        scale, bias = self.params
        return self.hat * scale[:, None, None] + bias[:, None, None]

    def backward(self, dy):
        count = dy.shape[0] * dy.shape[2] * dy.shape[3]
        dscale, dbias = (dy * self.hat).sum((0, 2, 3)), dy.sum((0, 2, 3))
        self.grads = [dscale, dbias]
        centred = dy - (dbias[:, None, None] + self.hat * dscale[:, None, None]) / count
        return centred * (self.params[0] * self.inv)[:, None, None]


class Relu:
    params = grads = []

    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy):
        return dy * self.mask


class MaxPool:
    params = grads = []

    def forward(self, x):
        n, c, h, w = x.shape
        tiles = x.reshape(n, c, h // 2, 2, w // 2, 2)
        y = tiles.max((3, 5), keepdims=True)
        self.mask = (tiles == y) / np.maximum((tiles == y).sum((3, 5), keepdims=True), 1)
        return y[:, :, :, 0, :, 0]

    def backward(self, dy):
        dx = self.mask * dy[:, :, :, None, :, None]
        return dx.reshape(dy.shape[0], dy.shape[1], dy.shape[2] * 2, -1).astype(np.float32)


class Gemm:
    def __init__(self, rng, inputs, outputs):
        scale = np.sqrt(1 / inputs)
        self.params = [(rng.standard_normal((inputs, outputs)) * scale).astype(np.float32),
                       np.zeros(outputs, np.float32)]

    def forward(self, x):
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dy):
        self.grads = [self.x.T @ dy, dy.sum(0)]
        return dy @ self.params[0].T


class Network:
    def __init__(self, rng):
        self.conv = [Conv(rng, 1, 16), Conv(rng, 16, 16), Conv(rng, 16, 32)]
        self.norm = [BatchNorm(16), BatchNorm(16), BatchNorm(32)]
        self.relu = [Relu(), Relu(), Relu()]
        self.pool = [MaxPool(), MaxPool()]
        self.head = Gemm(rng, 128, 10)
        self.layers = [*self.conv, *self.norm, self.head]

    def forward(self, x, training=False):
        a = self.relu[0].forward(self.norm[0].forward(self.conv[0].forward(x), training))
        b = self.norm[1].forward(self.conv[1].forward(a), training) + a
        b = self.pool[0].forward(self.relu[1].forward(b))
        c = self.relu[2].forward(self.norm[2].forward(self.conv[2].forward(b), training))
        c = self.pool[1].forward(c)
        self.flat = c.shape
        return self.head.forward(c.reshape(len(x), -1))

    def backward(self, dy):
        dc = self.pool[1].backward(self.head.backward(dy).reshape(self.flat))
        db = self.conv[2].backward(self.norm[2].backward(self.relu[2].backward(dc)))
        db = self.relu[1].backward(self.pool[0].backward(db))
        da = db + self.conv[1].backward(self.norm[1].backward(db))
        self.conv[0].backward(self.norm[0].backward(self.relu[0].backward(da)))


def adam(layers, state, step, rate):
    """Kingma and Ba 2015, with decoupled weight decay of 1e-4 on matrices."""
    for key, layer in enumerate(layers):
        for i, (p, g) in enumerate(zip(layer.params, layer.grads)):
            m, v = state.setdefault((key, i), (np.zeros_like(p), np.zeros_like(p)))
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= rate * (m / (1 - 0.9 ** step)) / (np.sqrt(v / (1 - 0.999 ** step)) + 1e-8)
            if p.ndim > 1:
                p -= rate * 1e-4 * p


def shifted(rng, x):
    """Each image moved by -1, 0 or 1 pixels in both directions."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = np.empty_like(x)
    for k, (i, j) in enumerate(rng.integers(0, 3, (len(x), 2))):
        out[k] = padded[k, :, i:i + 8, j:j + 8]
    return out


def train(rng, x, labels):
    net, state, step = Network(rng), {}, 0
    total = EPOCHS * (len(x) // BATCH)
    for epoch in range(EPOCHS):
        order, loss = rng.permutation(len(x)), 0.0
        for at in range(0, len(x) - BATCH + 1, BATCH):
            pick = order[at:at + BATCH]
            logits = net.forward(shifted(rng, x[pick]), training=True)
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            loss -= np.log(p[np.arange(BATCH), labels[pick]] + 1e-12).mean()
            p[np.arange(BATCH), labels[pick]] -= 1
            net.backward((p / BATCH).astype(np.float32))
            step += 1
            adam(net.layers, state, step, 0.003 * 0.5 * (1 + np.cos(np.pi * step / total)))
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss / (len(x) // BATCH):.4f}")
    return net


def export(net, path):
    constants, nodes = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(op, name, inputs, **attributes):
        nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def block(k, x):
        conv, norm = net.conv[k], net.norm[k]
        y = node("Conv", f"conv{k + 1}", [x, constant(f"conv{k + 1}.weight", conv.params[0])],
                 kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
        fields = zip(("scale", "bias", "mean", "var"), (*norm.params, norm.mean, norm.var))
        return node("BatchNormalization", f"norm{k + 1}",
                    [y] + [constant(f"norm{k + 1}.{n}", v) for n, v in fields], epsilon=EPS)

    pooling = {"kernel_shape": [2, 2], "strides": [2, 2]}
    a = node("Relu", "relu1", [block(0, "image")])
    b = node("Add", "residual", [block(1, a), a])
    b = node("MaxPool", "pool1", [node("Relu", "relu2", [b])], **pooling)
    c = node("MaxPool", "pool2", [node("Relu", "relu3", [block(2, b)])], **pooling)
    flat = node("Flatten", "flatten", [c], axis=1)
    node("Gemm", "logits", [flat, constant("head.weight", net.head.params[0]),
                            constant("head.bias", net.head.params[1])])
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="hone examples/digits/train.py")
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    rng = np.random.default_rng(SEED)
    x, labels = split(rng)
    net = train(rng, x[HELD_OUT:], labels[HELD_OUT:])
    right = (net.forward(x[:HELD_OUT]).argmax(1) == labels[:HELD_OUT]).sum()
    print(f"held out: {right} of {HELD_OUT} right ({100 * right / HELD_OUT:.2f} %)")
    export(net, os.path.join(HERE, "model.onnx"))


if __name__ == "__main__":
    main()
