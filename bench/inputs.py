"""inputs.py: the benchmark models' inputs: one each, the same in every process. Needs only NumPy."""
import numpy as np

IMAGE = ("x", (1, 3, 224, 224))
# model: (input name, shape) of floats, or (input name, shape, words) of indices below `words`
INPUTS = {
    "mlp_784": ("x", (1, 784)),
    "lstm_50": ("x", (50, 1, 64)),
    "bert_mini_32": ("ids", (1, 32), 30522),
    "bert_base_128": ("ids", (1, 128), 30522),
    "bert_base_384": ("ids", (1, 384), 30522),
    "llama_4l_128": ("x", (1, 128, 512)),
    "gpt2_small_128": ("ids", (1, 128), 50257),
    "vit_b_16": IMAGE,
    "swin_t": IMAGE,
    "resnet18": IMAGE,
    "resnet50": IMAGE,
    "mobilenet_v2": IMAGE,
    "mobilenet_v3_large": IMAGE,
    "efficientnet_b0": IMAGE,
    "squeezenet1_1": IMAGE,
    "densenet121": IMAGE,
    "convnext_tiny": IMAGE,
    "regnet_y_400mf": IMAGE,
    "shufflenet_v2_x1_0": IMAGE,
    "poolformer_s12": IMAGE,
}


def make_input(name, seed=7):
    _, shape, *words = INPUTS[name]
    random = np.random.default_rng(seed)
    if words:
        return random.integers(0, words[0], shape, np.int64)
    return random.standard_normal(shape).astype(np.float32)
