#!/usr/bin/env python3
"""Splits scikit-learn's 1797 digits and writes images.npy, labels.npy (held out: never trained on) and
calibration.npy beside this file.

    held out       360    what accuracy is measured on
    training      1437    train.py learns from them, shifted by up to a pixel
    calibration   1437    the training images, without labels: what quantization and repair after
                          pruning look at. With this few digits the network needs all for training; to
                          judge agreement of exits take the larger sets of ../glyphs and ../language"""
import os

import numpy as np
from sklearn.datasets import load_digits

HERE = os.path.dirname(os.path.abspath(__file__))
SEED, HELD_OUT = 20240607, 360


def split(rng):
    """(images f32 [1797,1,8,8] in 0..1, labels) in the order held out, calibration, rest of training."""
    digits = load_digits()
    order = rng.permutation(len(digits.target))
    return (digits.images[order, None] / 16).astype(np.float32), digits.target[order]


def main():
    x, labels = split(np.random.default_rng(SEED))
    np.save(os.path.join(HERE, "images.npy"), x[:HELD_OUT])
    np.save(os.path.join(HERE, "labels.npy"), labels[:HELD_OUT].astype(np.int64))
    np.save(os.path.join(HERE, "calibration.npy"), x[HELD_OUT:])


if __name__ == "__main__":
    main()
