#!/usr/bin/env python3
"""Draws the images that the glyphs model is trained, calibrated and judged on; needs only NumPy.

    data.py FOLDER    writes calibration.npz and heldout.npz (image f32 [2000,1,32,32]) and, beside
                      them, calibration-labels.npy and heldout-labels.npy (i64 [2000])

An image is one of ten digits drawn with line segments, turned, scaled, sheared, moved and with jittered
corners. Three in four images are easy: little noise. The others are hard: strong noise, and up to
three lines across. Each split has a seed of its own, so no image is in two of them."""
import os
import sys

import numpy as np

SIZE, CLASSES = 32, 10
SPLITS = {"training": (1, 20000), "calibration": (2, 2000), "heldout": (3, 2000)}  # seed, images

# The corners of each digit's line in a box from (0,0), above and left, to (2,4).
LINES = ["00 20 24 04 00", "02 10 14", "00 10 21 22 04 24", "00 20 12 23 14 04", "10 03 23 22 24",
         "20 00 02 12 23 14 04", "20 01 04 24 22 02", "00 20 04", "12 01 10 21 12 03 14 23 12",
         "22 02 00 20 24"]


def corners(text):
    return np.array([[float(c) for c in point] for point in text.split()]) - [1, 2]


def drawn(rng, points, width):
    """A line through points (pixels, [P,2] as x, y): 1 on it, falling to 0 about width beside it."""
    y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    distance = np.full((SIZE, SIZE), np.inf)
    for (ax, ay), (bx, by) in zip(points, points[1:]):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        distance = np.minimum(distance, np.hypot(x - ax - t * dx, y - ay - t * dy))
    return np.clip(width + 0.5 - distance, 0, 1)


def picture(rng, label):
    hard = rng.random_sample() < 0.25
    angle, shear = rng.uniform(-0.3, 0.3), rng.uniform(-0.25, 0.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    scale = np.diag(rng.uniform([5.0, 4.5], [8.0, 6.5]))
    points = corners(LINES[label])
    points = points + rng.uniform(-0.15, 0.15, points.shape)
    points = points @ scale @ np.array([[1, 0], [shear, 1]]) @ turn.T
    points += (SIZE - 1) / 2 + rng.uniform(-2.5, 2.5, 2)
    image = drawn(rng, points, rng.uniform(0.8, 1.6)) * rng.uniform(0.7, 1.0)
    for _ in range(rng.randint(0, 4) if hard else 0):
        image = np.maximum(image, drawn(rng, rng.uniform(0, SIZE, (2, 2)), 0.6) * 0.8)
    noise = rng.uniform(0.25, 0.6) if hard else rng.uniform(0.0, 0.15)
    return image + noise * rng.standard_normal((SIZE, SIZE))


def split(name):
    """(images f32 [count,1,SIZE,SIZE], labels i64 [count]); RandomState's streams never change."""
    seed, count = SPLITS[name]
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, CLASSES, count).astype(np.int64)
    images = np.stack([picture(rng, label) for label in labels])
    return images[:, None].astype(np.float32), labels


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    for name in ("calibration", "heldout"):
        images, labels = split(name)
        np.savez(os.path.join(folder, f"{name}.npz"), image=images)
        np.save(os.path.join(folder, f"{name}-labels.npy"), labels)


if __name__ == "__main__":
    main()
