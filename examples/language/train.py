#!/usr/bin/env python3
"""Trains the language model, a text encoder, and writes model.onnx beside this file.

    ids [N,L], mask [N,L] -> embedding + position -> 6 transformer blocks, which attend where mask is 1
                          -> LayerNorm -> the first token -> logits [N,20]
"""
import os
import sys

import numpy as np
import torch
from torch import nn

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import data
import encoder

SEED, EPOCHS, BATCH = 11, 30, 64


class Language(encoder.Encoder):
    def __init__(self):
        super().__init__(len(data.LANGUAGES))
        self.embedding = nn.Embedding(data.BUCKETS, encoder.WIDTH)
        self.position = nn.Embedding(data.BYTES + 1, encoder.WIDTH)
        self.dropout = nn.Dropout(0.2)
        for table in (self.embedding, self.position):
            nn.init.normal_(table.weight, std=0.1)

    def embed(self, ids, mask):
        position = self.position(torch.arange(ids.shape[1]))
        bias = (1 - mask[:, None, None, :]) * -10000.0
        return self.dropout(self.embedding(ids) + position), bias

    def pool(self, tokens):
        return tokens[:, 0]


def excerpt(rng, text):
    """Some words of the text in a row, at least SHORTEST characters; often all of it."""
    words = text.split()
    first = rng.randint(0, len(words)) if rng.random_sample() < 0.5 else 0
    last = rng.randint(first, len(words)) + 1 if rng.random_sample() < 0.5 else len(words)
    part = " ".join(words[first:last])
    return part if len(part) >= data.SHORTEST else text


def tensors(rows):
    ids, mask = data.padded(rows)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def main():
    torch.set_num_threads(1)  # the same order of sums each time
    torch.manual_seed(SEED)
    rng = np.random.RandomState(SEED)
    splits = data.texts()
    lines = splits["training"]
    print({name: len(rows) for name, rows in splits.items()})
    net = Language()

    def batches(epoch):
        rows = [(data.tokens(excerpt(rng, text)), label) for text, label in lines]
        order = rng.permutation(len(rows))
        order = order[np.argsort([len(rows[k][0]) // 8 for k in order], kind="stable")]
        groups = [order[at:at + BATCH] for at in range(0, len(order), BATCH)]  # of like length
        for at in rng.permutation(len(groups)):
            pick = [rows[k] for k in groups[at]]
            yield tensors([row for row, _ in pick]), torch.tensor([label for _, label in pick])

    encoder.train(net, batches, EPOCHS, -(-len(lines) // BATCH), 0.002)
    held = splits["heldout"]
    encoder.report(net, tensors([data.tokens(text) for text, _ in held]),
                   np.array([label for _, label in held]))
    axes = {name: {0: "N", 1: "L"} for name in ("ids", "mask")}
    example = tensors([data.tokens(text) for text, _ in held[:2]])
    encoder.export(net, example, ["ids", "mask"], {**axes, "logits": {0: "N"}}, 17,
                   os.path.join(HERE, "model.onnx"))


if __name__ == "__main__":
    main()
