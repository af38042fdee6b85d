"""Writes an ONNX model of 430 MB, a chain of 768 x 3072 and 3072 x 768 matrix products, in plain protobuf bytes (no package
needed): make.py FILE. The weights are a cheap pattern; they only have to be there."""
import sys

PAIRS = 23  # 2 * 768 * 3072 * 4 bytes each: 434 MB


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


def main(path):
    nodes, last = b"", "x"
    for i in range(2 * PAIRS):
        nodes += field(1, field(1, last.encode()) + field(1, b"w%d" % i) + field(2, b"h%d" % i) + field(4, b"MatMul"))
        last = "h%d" % i
    tail = field(2, b"large") + field(11, value_info("x", ["N", 768])) + field(12, value_info(last, ["N", 768]))
    raw = bytes(range(0, 64)) * (768 * 3072 * 4 // 64)
    heads = []
    for i in range(2 * PAIRS):
        rows, columns = (768, 3072) if i % 2 == 0 else (3072, 768)
        head = number(1, rows) + number(1, columns) + number(2, 1) + field(8, b"w%d" % i) + varint(9 << 3 | 2) + varint(len(raw))
        heads.append(varint(5 << 3 | 2) + varint(len(head) + len(raw)) + head)
    size = len(nodes) + len(tail) + sum(len(h) + len(raw) for h in heads)
    with open(path, "wb") as f:
        f.write(number(1, 8) + field(8, number(2, 17)) + varint(7 << 3 | 2) + varint(size) + nodes)
        for head in heads:
            f.write(head)
            f.write(raw)
        f.write(tail)


main(sys.argv[1])
