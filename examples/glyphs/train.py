#!/usr/bin/env python3
"""Trains the glyphs model, a vision transformer, and writes model.onnx beside this file.

    image [N,1,32,32] -> 4x4 patches of 8x8 pixels, projected (convolution of stride 8), + position
                      -> 6 transformer blocks -> LayerNorm -> mean of the 16 tokens -> logits [N,10]
"""
import os
import sys

import torch
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import data
import encoder

SEED, EPOCHS, BATCH, PATCH = 7, 24, 100, 8


class Glyphs(encoder.Encoder):
    def __init__(self):
        super().__init__(data.CLASSES)
        self.patches = nn.Conv2d(1, encoder.WIDTH, PATCH, PATCH)
        self.position = nn.Parameter(0.02 * torch.randn((data.SIZE // PATCH) ** 2, encoder.WIDTH))

    def embed(self, image):
        return self.patches(image).flatten(2).transpose(1, 2) + self.position, None

    def pool(self, tokens):
        return tokens.mean(1)


def main():
    torch.set_num_threads(1)  # the same order of sums each time
    torch.manual_seed(SEED)
    images, labels = map(torch.from_numpy, data.split("training"))
    net = Glyphs()

    def batches(epoch):
        order = torch.randperm(len(labels))
        for at in range(0, len(order), BATCH):
            pick = order[at:at + BATCH]
            yield (images[pick],), labels[pick]

    encoder.train(net, batches, EPOCHS, len(labels) // BATCH, 0.001)
    held, known = data.split("heldout")
    encoder.report(net, (torch.from_numpy(held),), known)
    encoder.export(net, (images[:2],), ["image"], {"image": {0: "N"}, "logits": {0: "N"}}, 14,
                   os.path.join(HERE, "model.onnx"))


if __name__ == "__main__":
    main()
