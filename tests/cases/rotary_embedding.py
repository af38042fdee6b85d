"""Makes the rotary_embedding_* cases: expected outputs by the onnx package's reference evaluator (onnx 1.23.2).

    python3 tests/cases/rotary_embedding.py      # needs the onnx package
"""
import os

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx.reference import ReferenceEvaluator

here = os.path.dirname(os.path.abspath(__file__))
rng = np.random.default_rng(0)


def case(name, shape, cache, position, **attrs):
    names, arrays = ["x", "cos", "sin"], [rng.standard_normal(s).astype(np.float32) for s in (shape, cache, cache)]
    if position is not None:
        names.append("position")
        arrays.append(position)
    infos = [h.make_tensor_value_info(n, T.INT64 if n == "position" else T.FLOAT, a.shape) for n, a in zip(names, arrays)]
    graph = h.make_graph([h.make_node("RotaryEmbedding", names, ["y"], **attrs)], "g", infos,
                         [h.make_tensor_value_info("y", T.FLOAT, shape)])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 23)], ir_version=10)
    folder = os.path.join(here, "rotary_embedding_" + name)
    os.makedirs(folder, exist_ok=True)
    onnx.save(model, folder + "/model.onnx")
    for i, a in enumerate(arrays):
        np.save(f"{folder}/input_{i}.npy", a)
    np.save(folder + "/output_0.npy", ReferenceEvaluator(model).run(None, dict(zip(names, arrays)))[0])


positions = np.array([[3, 1, 0], [4, 5, 49]], np.int64)
case("plain", (2, 4, 3, 8), (50, 4), positions)
case("interleaved", (2, 4, 3, 8), (50, 4), positions, interleaved=1)
case("partial", (2, 4, 3, 8), (50, 2), positions, rotary_embedding_dim=4)
case("three_axes", (2, 3, 32), (50, 4), positions, num_heads=4)
case("no_positions", (2, 4, 3, 8), (2, 3, 4), None)
case("partial_interleaved", (2, 4, 3, 8), (2, 3, 2), None, rotary_embedding_dim=4, interleaved=1)
