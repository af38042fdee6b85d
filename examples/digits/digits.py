#!/usr/bin/env python3
"""Runs a compiled digits library through ctypes on the held-out images, all at once and one by one.

    digits.py digits.so

The classes below mirror runtime/hone.h; nothing but NumPy is needed."""
import ctypes
import os
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
ABI_VERSION, F32 = 1, 1


class Tensor(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size", c_int64), ("dims", c_int64 * 8), ("rank", c_int32),
                ("dtype", c_int32), ("reserved", c_void_p * 2)]


class Model(ctypes.Structure):
    pass


Status, Context = c_int, c_void_p
Model._fields_ = [
    ("size", c_uint32), ("abi_version", c_uint32), ("name", c_char_p), ("signature", c_char_p),
    ("compiler", c_char_p), ("passes", c_char_p), ("cpu", c_char_p), ("hash", c_char_p),
    ("input_count", c_int32), ("output_count", c_int32), ("param_count", c_int32),
    ("reserved_count", c_int32), ("inputs", c_void_p), ("outputs", c_void_p), ("params", c_void_p),
    ("weight_bytes", c_int64),
    ("arena_bytes", ctypes.CFUNCTYPE(c_int64, POINTER(Model), POINTER(Tensor), c_int)),
    ("context_create", ctypes.CFUNCTYPE(Status, POINTER(Model), c_void_p, POINTER(Context), c_char_p,
                                        c_size_t)),
    ("output_dims", ctypes.CFUNCTYPE(Status, Context, POINTER(Tensor), POINTER(Tensor))),
    ("run", ctypes.CFUNCTYPE(Status, Context, POINTER(Tensor), POINTER(Tensor))),
    ("set_param", ctypes.CFUNCTYPE(Status, Context, c_char_p, c_double)),
    ("error", ctypes.CFUNCTYPE(c_char_p, Context)),
    ("context_destroy", ctypes.CFUNCTYPE(None, Context)),
]


class Digits:
    def __init__(self, path):
        library = ctypes.CDLL(os.path.abspath(path))
        library.hone_model_get.restype = POINTER(Model)
        self.pointer = library.hone_model_get()
        self.model = self.pointer.contents
        if self.model.abi_version != ABI_VERSION:
            raise RuntimeError(f"{path} has ABI version {self.model.abi_version}, not {ABI_VERSION}")
        self.context, text = Context(), ctypes.create_string_buffer(256)
        if self.model.context_create(self.pointer, None, byref(self.context), text, len(text)):
            raise RuntimeError(text.value.decode())

    def __call__(self, images):
        images = np.ascontiguousarray(images, np.float32)
        logits = np.empty((len(images), 10), np.float32)
        x = Tensor(images.ctypes.data, images.nbytes, images.shape, images.ndim, F32)
        y = Tensor(logits.ctypes.data, logits.nbytes)
        if self.model.run(self.context, byref(x), byref(y)):
            raise RuntimeError(self.model.error(self.context).decode())
        return logits

    def close(self):
        self.model.context_destroy(self.context)


def judge(how, logits, labels, expected):
    """Prints accuracy and agreement; true if the run is as good as promised."""
    right, same = (logits.argmax(1) == labels).sum(), (logits.argmax(1) == expected.argmax(1)).sum()
    worst, count = np.abs(logits - expected).max(), len(labels)
    print(f"  {how:11} {right} of {count} right ({100 * right / count:.2f} %), {same} of {count} equal "
          f"to ONNX Runtime, largest difference {worst:.1e}")
    return same == count and right >= 0.97 * count and worst < 1e-3


def main():
    if len(sys.argv) != 2:
        print("usage: digits.py digits.so | logits.npy", file=sys.stderr)
        return 2
    images, labels, expected = (np.load(os.path.join(HERE, f"{name}.npy"))
                                for name in ("images", "labels", "expected"))
    if sys.argv[1].endswith(".npy"):  # what a program wrote
        return 0 if judge("", np.load(sys.argv[1]), labels, expected) else 1
    digits = Digits(sys.argv[1])
    good = judge("all at once", digits(images), labels, expected)
    times = []
    logits = np.empty_like(expected)
    for i in range(len(images)):
        start = time.perf_counter()
        logits[i:i + 1] = digits(images[i:i + 1])
        times.append(time.perf_counter() - start)
    good = judge("one by one", logits, labels, expected) and good
    print(f"  {'':11} p50 {1e6 * np.median(times):.1f} us per image, ctypes included")
    digits.close()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
