"""A pre-norm transformer encoder and its training, shared by glyphs/train.py and language/train.py.

Each block is that of Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture". While
training, a linear head reads the tokens after each block, and the losses of all heads are added (deep
supervision: Lee et al. 2015, "Deeply-Supervised Nets"), so that the classes are already linearly
separable in shallow blocks. Only the last head is exported.

Needs PyTorch (Debian: python3-torch); libopenblas0-pthread makes its matrix products fast."""
import math
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BLOCKS, WIDTH, HEADS, HIDDEN = 6, 64, 4, 128


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query, self.key = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.value, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.dropout = nn.Dropout(0.1)

    def attention(self, x, bias):
        n, length = x.shape[0], x.shape[1]

        def heads(linear):
            return linear(x).view(n, length, HEADS, WIDTH // HEADS).transpose(1, 2)

        scores = heads(self.query) @ heads(self.key).transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        if bias is not None:
            scores = scores + bias
        mixed = torch.softmax(scores, dim=-1) @ heads(self.value)
        return self.out(mixed.transpose(1, 2).reshape(n, length, WIDTH))

    def forward(self, x, bias):
        x = x + self.dropout(self.attention(self.norm1(x), bias))
        return x + self.dropout(self.down(functional.gelu(self.up(self.norm2(x)))))


class Encoder(nn.Module):
    """Embeds, runs the blocks and classifies; a subclass defines embed(*inputs) -> tokens
    [N,L,WIDTH] and the bias of the attention scores, and pool(tokens) -> [N,WIDTH]."""

    def __init__(self, classes):
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(BLOCKS))
        self.heads = nn.ModuleList(nn.Linear(WIDTH, classes) for _ in range(BLOCKS))

    def forward(self, *inputs):
        x, bias = self.embed(*inputs)
        for block in self.blocks:
            x = block(x, bias)
        return self.heads[-1](self.pool(self.norms[-1](x)))

    def depths(self, *inputs):
        """The logits after each block."""
        x, bias = self.embed(*inputs)
        logits = []
        for block, norm, head in zip(self.blocks, self.norms, self.heads):
            x = block(x, bias)
            logits.append(head(self.pool(norm(x))))
        return logits


def train(net, batches, epochs, steps, rate):
    """AdamW (Loshchilov and Hutter 2019) with a short warm-up and a cosine; batches(epoch) yields
    (inputs, labels) `steps` times."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.02)
    total = epochs * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda k: min(1, k / 100) * 0.5 * (1 + math.cos(math.pi * min(1, k / total))))
    net.train()
    for epoch in range(epochs):
        start, last = time.monotonic(), 0.0
        for inputs, labels in batches(epoch):
            losses = [functional.cross_entropy(logits, labels) for logits in net.depths(*inputs)]
            optimizer.zero_grad()
            sum(losses).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            last += losses[-1].item() / steps
        print(f"epoch {epoch + 1}: loss {last:.4f}, {time.monotonic() - start:.0f} s", flush=True)


def report(net, inputs, labels):
    """Prints the accuracy of the head after each block and how often it agrees with the last."""
    net.eval()
    with torch.no_grad():
        classes = np.stack([logits.argmax(1).numpy() for logits in net.depths(*inputs)])
    for depth, found in enumerate(classes):
        print(f"block {depth + 1}: {100 * (found == labels).mean():.2f} % right, "
              f"{100 * (found == classes[-1]).mean():.2f} % as the last block")


def export(net, inputs, names, axes, opset, path):
    """Writes the net with its last head only, output `logits`; axes names the symbolic dims."""
    net.eval()
    torch.onnx.export(net, inputs, path, input_names=names, output_names=["logits"],
                      dynamic_axes=axes, opset_version=opset, do_constant_folding=True)
