#!/usr/bin/env python3
"""Makes expected.npy: ONNX Runtime's logits for images.npy. With --check compares instead: every
image's class must be the same and the logits equal to within 1e-4."""
import os
import sys

import numpy as np
import onnxruntime

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    session = onnxruntime.InferenceSession(os.path.join(HERE, "model.onnx"),
                                           providers=["CPUExecutionProvider"])
    images = np.load(os.path.join(HERE, "images.npy"))
    labels = np.load(os.path.join(HERE, "labels.npy"))
    logits, = session.run(["logits"], {"image": images})
    print(f"ONNX Runtime {onnxruntime.__version__}: {(logits.argmax(1) == labels).sum()} of {len(labels)} right")
    path = os.path.join(HERE, "expected.npy")
    if "--check" not in sys.argv[1:]:
        np.save(path, logits)
        return 0
    known = np.load(path)
    same = (known.argmax(1) == logits.argmax(1)).sum()
    error = np.abs(known - logits).max()
    print(f"expected.npy: {same} of {len(labels)} classes equal, largest difference {error:.2g}")
    return 0 if same == len(labels) and error <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
