"""models.py FOLDER: writes the models of the tests as protobuf bytes made by hand: good ones and broken ones.
Field numbers are those of onnx.proto."""
import os
import struct
import sys

F32, I64 = 1, 7


def varint(n):
    out = b""
    n &= (1 << 64) - 1
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def block(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, dtype=F32, raw=None, external=None):
    out = b"".join(number(1, d) for d in dims) + number(2, dtype) + block(8, name)
    if raw is not None:
        out += block(9, raw)
    if external:
        out += block(13, block(1, "location") + block(2, external)) + number(14, 1)
    return out


def value(name, dims, dtype=F32):
    dim = lambda d: number(1, d) if isinstance(d, int) else block(2, d)
    shape = b"".join(block(1, dim(d)) for d in dims)
    return block(1, name) + block(2, block(1, number(1, dtype) + block(2, shape)))


def node(op, inputs, outputs, name, domain="", attributes=b""):
    out = b"".join(block(1, x) for x in inputs) + b"".join(block(2, x) for x in outputs)
    return out + block(3, name) + block(4, op) + attributes + (block(7, domain) if domain else b"")


def model(nodes, tensors=(), inputs=(("x", ("N", 4)),), outputs=(("y", ("N", 4)),), opset=13, extra=b""):
    graph = b"".join(block(1, n) for n in nodes) + block(2, "g") + b"".join(block(5, t) for t in tensors)
    graph += b"".join(block(11, value(*v)) for v in inputs) + b"".join(block(12, value(*v)) for v in outputs)
    imports = block(8, block(1, "") + number(2, opset)) + block(8, block(1, "ai.onnx.ml") + number(2, 2))
    return number(1, 7) + block(7, graph + extra) + imports


def nested(depth):
    """A graph in an attribute of a node of a graph ..., `depth` times."""
    parts, size = [], 0
    for _ in range(depth):
        for field in (6, 5, 1):  # g of an attribute, attribute of a node, node of a graph
            head = varint(field << 3 | 2) + varint(size)
            parts.append(head)
            size += len(head)
    return b"".join(reversed(parts))


def nested_type(depth):
    """An input of a sequence of a sequence ..., `depth` times."""
    parts, size = [], 0
    for _ in range(depth):
        for field in (1, 4):  # elem_type of a sequence, sequence_type of a type
            head = varint(field << 3 | 2) + varint(size)
            parts.append(head)
            size += len(head)
    return block(11, block(1, "x") + block(2, b"".join(reversed(parts))))


def groups(depth):
    """Groups of an unknown field in one another: three bytes each way."""
    return varint(100 << 3 | 3) * depth + varint(100 << 3 | 4) * depth


four = struct.pack("<4f", 1, -2, 3, -4)
relu_add = [node("Add", ["x", "w"], ["a"], "add"), node("Relu", ["a"], ["y"], "relu")]
good = model(relu_add, [tensor("w", [4], raw=four)])


def with_tensor(*args, **keys):
    return model(relu_add, [tensor("w", *args, **keys)])


files = {
    "good.onnx": good,
    "external.onnx": with_tensor([4], external="weights.bin"),
    "weights.bin": four,
    "ids.onnx": model([node("Gather", ["t", "x"], ["y"], "lookup")], [tensor("t", [4], raw=four)],
                      inputs=(("x", ("N",), I64),), outputs=(("y", ("N",)),)),
    "truncated.onnx": good[:-9],
    "garbage.onnx": bytes((i * 181 + 77) % 256 for i in range(600)),
    "empty.onnx": b"",
    "text.onnx": b"this is not a model\n" * 20,
    "cyclic.onnx": model([node("Add", ["x", "b"], ["a"], "first"), node("Relu", ["a"], ["b"], "second"),
                          node("Relu", ["b"], ["y"], "third")]),
    "types.onnx": model([node("Add", ["x", "w"], ["y"], "mixed")], [tensor("w", [1], I64, struct.pack("<q", 1))]),
    "negative.onnx": with_tensor([-4], raw=four),
    "overflow.onnx": with_tensor([1 << 40, 1 << 40], raw=four),
    "huge.onnx": with_tensor([1 << 40], raw=four),
    "short.onnx": with_tensor([4], raw=four[:12]),
    "long.onnx": with_tensor([4], raw=four + four),
    "absolute.onnx": with_tensor([4], external="/etc/passwd"),
    "parent.onnx": with_tensor([4], external="../weights.bin"),
    "link.onnx": with_tensor([4], external="link.bin"),
    "missing.onnx": with_tensor([4], external="no_such.bin"),
    "undefined.onnx": model([node("Relu", ["nowhere"], ["y"], "reader")]),
    "twice.onnx": model([node("Relu", ["x"], ["y"], "one"), node("Relu", ["x"], ["y"], "two")]),
    "nested.onnx": number(1, 7) + block(7, nested(10000)),
    "types_nested.onnx": number(1, 7) + block(7, nested_type(10000)),
    "groups.onnx": number(1, 7) + groups(10000),
    "groups_in_graph.onnx": number(1, 7) + block(7, groups(10000)[:30000]),
    "shapes.onnx": model([node("MatMul", ["x", "w"], ["y"], "product")], [tensor("w", [5, 4], raw=four * 5)]),
    "unsupported.onnx": model([node("NoSuchOp", ["x"], ["a"], "first_bad"),
                               node("AnotherOne", ["a"], ["b"], "second_bad", "my.domain"),
                               node("Relu", ["b"], ["c"], "fine"),
                               node("ThirdKind", ["c"], ["y"], "third_bad")]),
}


def npy(dtype, shape, data):
    head = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }" % (dtype, shape)
    head += " " * (63 - (10 + len(head)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


x = struct.pack("<8f", 1, 1, 1, 1, -1, 5, -5, 9)
files["input_0.npy"] = npy("<f4", "(2, 4)", x)
files["output_0.npy"] = npy("<f4", "(2, 4)", struct.pack("<8f", 2, 0, 4, 0, 0, 3, 0, 5))
files["bad/input_0.npy"] = files["input_0.npy"]
files["bad/output_0.npy"] = npy("<f4", "(2, 4)", struct.pack("<8f", 2, 0, 4, 0, 0, 3, 0, 6))
files["wide.npy"] = npy("<f4", "(1, 5)", x[:20])
files["ints.npy"] = npy("<i8", "(2,)", struct.pack("<2q", 1, 7))
files["cut.npy"] = files["input_0.npy"][:-3]

if __name__ == "__main__":
    for name, data in files.items():
        path = os.path.join(sys.argv[1], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
    os.symlink("/etc/passwd", os.path.join(sys.argv[1], "link.bin"))
    with open(os.path.join(sys.argv[1], "..", "weights.bin"), "wb") as f:
        f.write(four)
