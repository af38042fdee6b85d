"""models.py DIR [NAME..]: exports the benchmark models to ONNX (opset 14) with torch and torchvision.

Weights are random with fixed seeds. torchvision's classifiers are the library's own, exported in eval mode; the others
are plain torch.nn modules written here: BERT (Devlin 2019), GPT-2 (Radford 2019), a LLaMA-like stack (Touvron 2023, with
grouped queries), PoolFormer (Yu 2022), an LSTM and an MLP. What would make activations vanish or blow up is changed before
the export: batch normalization gets the statistics of random batches, layer scales and zero heads usual values.
Beside each NAME.onnx a NAME.json holds its GFLOP: two for each multiplication of a convolution, matrix product or LSTM.
"""
import json
import math
import os
import sys
import warnings

import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from inputs import INPUTS, make_input

OPSET = 14


# ---- models that are not torchvision's ----


class MLP(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))


class LSTM(nn.Module):
    """Two layers over 50 steps; the last step is classified."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(64, 128, num_layers=2), nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


def split_heads(x, heads):
    return x.view(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def attend(q, k, v, mask=None):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores + mask
    y = scores.softmax(-1) @ v
    return y.transpose(1, 2).reshape(y.shape[0], y.shape[2], -1)


class BertLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-12), nn.LayerNorm(width, 1e-12)

    def forward(self, x):
        q, k, v = (split_heads(f(x), self.heads) for f in (self.q, self.k, self.v))
        x = self.norm1(x + self.out(attend(q, k, v)))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self, length, layers, width, heads):
        super().__init__()
        self.words, self.types = nn.Embedding(30522, width), nn.Parameter(torch.randn(width))
        self.positions = nn.Parameter(torch.randn(1, length, width))
        self.norm = nn.LayerNorm(width, 1e-12)
        self.layers = nn.Sequential(*(BertLayer(width, heads) for _ in range(layers)))

    def forward(self, ids):
        return self.layers(self.norm(self.words(ids) + self.positions + self.types))


class GptLayer(nn.Module):
    def __init__(self, width, heads, length):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.register_buffer("mask", torch.full((length, length), -1e4).triu(1))

    def forward(self, x):
        q, k, v = (split_heads(y, self.heads) for y in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(attend(q, k, v, self.mask))
        y = self.up(self.norm2(x))
        y = 0.5 * y * (1 + torch.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y.pow(3))))
        return x + self.down(y)


class Gpt2(nn.Module):
    """Up to the last norm: no vocabulary head."""

    def __init__(self, length, layers=12, width=768, heads=12):
        super().__init__()
        self.words, self.positions = nn.Embedding(50257, width), nn.Parameter(torch.randn(1, length, width))
        self.layers = nn.Sequential(*(GptLayer(width, heads, length) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids):
        return self.norm(self.layers(self.words(ids) + self.positions))


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class LlamaLayer(nn.Module):
    def __init__(self, width, heads, groups, hidden, length):
        super().__init__()
        self.heads, self.groups, size = heads, groups, width // heads
        self.q, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.k, self.v = (nn.Linear(width, groups * size, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.down = nn.Linear(hidden, width, bias=False)
        self.norm1, self.norm2 = RmsNorm(width), RmsNorm(width)
        angles = torch.arange(length)[:, None] / 10000 ** (torch.arange(0, size, 2) / size)
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.full((length, length), -1e4).triu(1))

    def rotate(self, x):
        left, right = x.chunk(2, -1)
        return x * self.cos + torch.cat([-right, left], -1) * self.sin

    def repeat(self, x):
        n, g, length, size = x.shape
        times = self.heads // self.groups
        return x[:, :, None].expand(n, g, times, length, size).reshape(n, g * times, length, size)

    def forward(self, x):
        y = self.norm1(x)
        q, k = self.rotate(split_heads(self.q(y), self.heads)), self.rotate(split_heads(self.k(y), self.groups))
        v = split_heads(self.v(y), self.groups)
        x = x + self.out(attend(q, self.repeat(k), self.repeat(v), self.mask))
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Sequential):
    """Blocks and the last norm, on embeddings."""

    def __init__(self, length, layers=4, width=512, heads=8, groups=4, hidden=1408):
        super().__init__(*(LlamaLayer(width, heads, groups, hidden, length) for _ in range(layers)), RmsNorm(width))


class PoolFormerBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(1, width), nn.GroupNorm(1, width)
        self.pool = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.up, self.down = nn.Conv2d(width, 4 * width, 1), nn.Conv2d(4 * width, width, 1)
        self.scale1, self.scale2 = (nn.Parameter(0.1 * torch.randn(width, 1, 1)) for _ in range(2))

    def forward(self, x):
        y = self.norm1(x)
        x = x + self.scale1 * (self.pool(y) - y)
        return x + self.scale2 * self.down(F.gelu(self.up(self.norm2(x))))


class PoolFormer(nn.Module):
    def __init__(self, depths=(2, 2, 6, 2), widths=(64, 128, 320, 512)):
        super().__init__()
        stages, before = [], 3
        for depth, width in zip(depths, widths):
            stages.append(nn.Conv2d(before, width, 3, 2, 1) if stages else nn.Conv2d(3, width, 7, 4, 2))
            stages += [PoolFormerBlock(width) for _ in range(depth)]
            before = width
        self.stages, self.norm, self.head = nn.Sequential(*stages), nn.GroupNorm(1, before), nn.Linear(before, 1000)

    def forward(self, x):
        return self.head(self.norm(self.stages(x)).mean([-2, -1]))


# ---- the list ----


BUILD = {
    "mlp_784": MLP,
    "lstm_50": LSTM,
    "bert_mini_32": lambda: Bert(32, 4, 256, 4),
    "bert_base_128": lambda: Bert(128, 12, 768, 12),
    "bert_base_384": lambda: Bert(384, 12, 768, 12),
    "llama_4l_128": lambda: Llama(128),
    "gpt2_small_128": lambda: Gpt2(128),
    "poolformer_s12": PoolFormer,
}


def calibrate(model, x):
    """Usual values for what initialization leaves at zero or nearly so, and statistics for batch normalization."""
    for name, p in model.named_parameters():
        if name.endswith("layer_scale") or name.endswith("class_token"):
            nn.init.normal_(p, std=0.3)
        elif p.dim() == 2 and not p.any():
            nn.init.normal_(p, std=1 / math.sqrt(p.shape[1]))
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return
    for m in norms:
        m.momentum = None  # the plain mean over batches
        nn.init.uniform_(m.weight, 0.8, 1.2)
        nn.init.normal_(m.bias, std=0.1)
    model.train()
    with torch.no_grad():
        for _ in range(2):
            model(torch.randn(4, *x.shape[1:]))


def without_dropout(function):
    """torchvision's Swin calls dropout with probability 0 as if in training: exported, that is a Dropout that drops nothing."""
    def dropout(x, p=0.5, training=True, inplace=False):
        return function(x, p, training and p > 0, inplace)
    return dropout


class Multiplications(TorchDispatchMode):
    """Counts those of matrix products and convolutions while it is active."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result, name = function(*args, **(kwargs or {})), function._schema.name
        if name == "aten::convolution":
            self.count += math.prod(result.shape) * math.prod(args[1].shape[1:])
        elif name in ("aten::mm", "aten::bmm"):
            self.count += math.prod(result.shape) * args[0].shape[-1]
        elif name == "aten::addmm":
            self.count += math.prod(result.shape) * args[1].shape[-1]
        return result


def export(folder, name, seed):
    torch.manual_seed(seed)
    model = BUILD[name]() if name in BUILD else getattr(torchvision.models, name)(weights=None)
    x = torch.from_numpy(make_input(name))
    calibrate(model, x)
    model.eval()
    path = f"{folder}/{name}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, x, f"{path}.new", opset_version=OPSET, input_names=[INPUTS[name][0]],
                          output_names=["y"])
    with Multiplications() as counted:
        y = model(x)  # with gradients: without, torch takes routes of its own that are not counted
    print(f"{name}: output {tuple(y.shape)}, standard deviation {float(y.std()):.3g}")
    if not 1e-3 < float(y.std()) < 1e3:
        raise SystemExit(f"{name}: the output vanishes or blows up")
    os.replace(f"{path}.new", path)
    with open(f"{folder}/{name}.json", "w") as f:
        json.dump({"gflop": 2 * counted.count / 1e9}, f)


def main(folder, names):
    os.makedirs(folder, exist_ok=True)
    torch.set_num_threads(1)  # the same sums everywhere
    F.dropout = without_dropout(F.dropout)
    for seed, name in enumerate(INPUTS):
        if (not names or name in names) and not os.path.exists(f"{folder}/{name}.json"):
            export(folder, name, seed)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
