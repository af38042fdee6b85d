"""Writes a large ONNX model in plain protobuf bytes (no package needed): make.py FILE products|convolutions. The weights are a
cheap pattern; they only have to be there.
  products      a chain of 768 x 3072 and 3072 x 768 matrix products, 434 MB; weights are stored as hone reads them
  convolutions  a chain of 1x1 convolutions of 1024 channels, 126 MB; hone transposes every weight"""
import sys

PAIRS = 23  # of products, 2 * 768 * 3072 * 4 bytes each
LAYERS = 30  # convolutions, 1024 * 1024 * 4 bytes each


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(n, value):
    return varint(n << 3) + varint(value)


def value_info(name, dims):
    shape = b"".join(field(1, field(2, d.encode()) if isinstance(d, str) else number(1, d)) for d in dims)
    return field(1, name.encode()) + field(2, field(1, number(1, 1) + field(2, shape)))


def chain(path, op, shapes, first, last):
    """x of the type `first` through one `op` for each shape of a weight."""
    nodes = b"".join(field(1, field(1, b"h%d" % i if i else b"x") + field(1, b"w%d" % i) + field(2, b"h%d" % (i + 1)) +
                           field(4, op.encode())) for i in range(len(shapes)))
    tail = field(2, b"large") + field(11, value_info("x", first)) + field(12, value_info("h%d" % len(shapes), last))
    count = 1
    for dim in shapes[0]:
        count *= dim
    raw = bytes(range(0, 64)) * (count * 4 // 64)
    heads = []
    for i, shape in enumerate(shapes):
        head = b"".join(number(1, d) for d in shape) + number(2, 1) + field(8, b"w%d" % i) + varint(9 << 3 | 2) + varint(len(raw))
        heads.append(varint(5 << 3 | 2) + varint(len(head) + len(raw)) + head)
    size = len(nodes) + len(tail) + sum(len(h) + len(raw) for h in heads)
    with open(path, "wb") as f:
        f.write(number(1, 8) + field(8, number(2, 17)) + varint(7 << 3 | 2) + varint(size) + nodes)
        for head in heads:
            f.write(head)
            f.write(raw)
        f.write(tail)


def main(path, form="products"):
    if form == "products":
        chain(path, "MatMul", [(768, 3072), (3072, 768)] * PAIRS, ["N", 768], ["N", 768])
    else:
        chain(path, "Conv", [(1024, 1024, 1, 1)] * LAYERS, [1, 1024, 7, 7], [1, 1024, 7, 7])


if __name__ == "__main__":
    main(*sys.argv[1:])
