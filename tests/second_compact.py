"""Format 2 in the second reader, written from docs/format.md and nothing else."""

import hashlib
import json
import math
import struct
import zlib
from pathlib import Path

import numpy as np

PAGE = (Path(__file__).parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
DICTIONARY = PAGE.split("```text\n")[1].split("\n```")[0].replace("\n", "").encode()
ROOTS = 65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194
SIZES = {f"{kind}{8 * n}": n for kind in ("int", "uint", "float") for n in (1, 2, 4, 8)}
SIZES |= {"bfloat16": 2, "complex64": 8}


class Bytes:
    """Bytes that are read from the front."""

    def __init__(self, data):
        self.data = data

    def take(self, n):
        assert n <= len(self.data)
        taken, self.data = self.data[:n], self.data[n:]
        return taken

    def varint(self):
        groups = []
        while not groups or groups[-1] >= 128:
            groups.append(self.take(1)[0])
        assert len(groups) < 10 and (len(groups) == 1 or groups[-1])
        return sum((group & 127) << 7 * i for i, group in enumerate(groups))

    def signed(self, n):
        return list(struct.unpack(f"{n}b", self.take(n)))

    def levels(self, n):
        levels = self.signed(n)
        assert -128 not in levels
        return levels


class Bits:
    """A stream of bits, each of a level."""

    def __init__(self, data):
        self.left, self.state = list(struct.unpack(f"<{len(data) // 4}I", data)), 0
        assert self.left[-1] != 0
        while self.refill():
            pass

    def refill(self):
        if self.state >= 2**32 or not self.left:
            return False
        self.state = self.state * 2**32 + self.left.pop()
        return True

    def read(self, level):
        f = 2**40 // (2**16 + ROOTS[abs(level) % 8] * 2 ** (abs(level) // 8))
        zeros = 2**24 - f if level < 0 else f
        q = self.state % 2**24
        bit = int(q >= zeros)
        self.state = self.state // 2**24 * ((2**24 - zeros) if bit else zeros) + q - (zeros if bit else 0)
        self.refill()
        return bit

    def tree(self, levels, n):
        k, levels, symbols = len(levels) + 1, iter(levels), [0] * n
        for j in reversed(range(math.ceil(math.log2(k)))):
            for start in range(0, k - 2**j, 2 * 2**j):
                level = next(levels)
                for i in range(n):
                    if symbols[i] >> j + 1 == start >> j + 1:
                        symbols[i] |= self.read(level) << j
        assert not list(levels)
        return symbols


def first_scores(seed, name, n):
    """The numbers v of the first scores."""
    digest = hashlib.sha256(f"scores/{seed}/{name}".encode()).digest()
    raw = np.random.RandomState((int.from_bytes(digest[:8], "little") >> 1) % 2**32).bytes(4 * n)
    return (np.frombuffer(raw, "<u4") % 2**24).tolist()


def described(side):
    """Effects of rows or columns: step, whether by sign, first number, levels."""
    step = side.take(1)[0]
    if step == 0:
        return 0, False, 0, []
    assert step != 128
    first, more = side.signed(2)
    assert more >= 0 and -64 <= first and first + more <= 63
    return step % 128, step > 128, first, side.levels(more)


def codes_in_contexts(data, head, name, shape, places, unit_above):
    """The codes of a masked tensor whose elements at these places are stored; `unit_above` gives the units above 0."""
    side, n, whole, columns = Bytes(data), len(places), math.prod(shape), math.prod(shape[1:])
    values = side.signed(side.varint())
    assert values[1:] == sorted({*values[1:]} - {*values[:1]}) and bool(values) == bool(n)
    if len(values) < 2:
        assert not side.data
        return np.array(values * n, np.int64)
    kind = side.take(1)[0]
    if kind == 255:
        values.sort()
        width, number = math.ceil(math.log2(len(values))), int.from_bytes(side.data, "little")
        assert len(side.data) == math.ceil(n * width / 8) and number >> n * width == 0
        return np.array([values[number >> i * width & (2**width - 1)] for i in range(n)], np.int64)
    b, of_s = kind % 128, kind > 127
    assert b <= 8 and kind != 128
    by_bin = side.levels(2**b)
    both = described(side), described(side)
    nodes = side.levels(len(values) - 2)
    stream, found = Bits(side.data), []
    for (step, by_sign, first, levels), count in zip(both, (shape[0], columns), strict=True):
        effects = [step * (first + symbol) for symbol in stream.tree(levels, count * (1 + by_sign))]
        found.append((effects[::2], effects[1::2]) if by_sign else (effects, effects))
    v = first_scores(head["seed"], name, whole) if b else []
    above = unit_above() if both[0][1] or both[1][1] else [0] * whole
    by_level = {}
    for j, i in enumerate(places):
        which = 0
        if b:
            t = v[i] - 2**23 if v[i] >= 2**23 else 2**23 - 1 - v[i]
            which = v[i] >> (24 - b) if of_s else t >> (23 - b)
        level = by_bin[which] + found[0][above[i]][i // columns] + found[1][above[i]][i % columns]
        by_level.setdefault(min(127, max(-127, level)), []).append(j)
    others = []
    for level, its in sorted(by_level.items()):
        others += [j for j in its if stream.read(level)]
    codes = np.full(n, values[0], np.int64)
    for j, symbol in zip(sorted(others), stream.tree(nodes, len(others)), strict=True):
        codes[j] = values[1 + symbol]
    assert stream.state == 0 and not stream.left
    return codes


def widened(content, narrow, dtype, from_bytes, to_bytes):
    """The bytes of a stored tensor in its own dtype."""
    if narrow == dtype:
        return content
    if dtype.startswith("int"):
        kinds = [f"<i{SIZES[each]}" for each in (narrow, dtype)]
        return np.frombuffer(content, kinds[0]).astype(kinds[1]).tobytes()
    if narrow != "float8_e4m3fn":
        return to_bytes(from_bytes(content, narrow), dtype)
    values = []
    for byte in content:
        exponent, fraction = byte >> 3 & 15, byte & 7
        assert byte & 127 != 127
        size = fraction * 2.0**-9 if exponent == 0 else (8 + fraction) * 2.0 ** (exponent - 10)
        values.append(-size if byte & 128 else size)
    return to_bytes(np.array(values), dtype)


def read_compact(file, from_bytes, to_bytes):
    """Header, stored tensors and the bytes of codes of a file of format 2."""
    assert file[8:16] == hashlib.sha256(file[16:]).digest()[:8]
    side = Bytes(file[16:])
    hashes = {"weights_sha256": side.take(32).hex(), "sample_sha256": side.take(32).hex()}
    packed = side.take(side.varint())
    unpacker = zlib.decompressobj(-15, DICTIONARY)
    text = unpacker.decompress(packed).decode("ascii")
    assert unpacker.eof and not unpacker.unused_data and len(text) <= min(10**8, 2**16 + 64 * len(packed))
    head = json.loads(text)
    assert json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False) == text
    assert head.keys() == {"seed", "weights", "methods", "tensors", "network", "meta", "producer"}
    stored = {}
    for name, entry in sorted(head["tensors"].items()):
        if "stored" in entry:
            dtype, narrow, shape = entry["dtype"], entry["stored"], tuple(entry["shape"])
            content = side.take(math.prod(shape) * SIZES.get(narrow, 1))
            stored[f"extra/{name}"] = dtype, shape, widened(content, narrow, dtype, from_bytes, to_bytes)
        elif "method" in entry:
            stored[f"codes/{name}"] = "uint8", (), side.take(side.varint())
    assert not side.data
    tensors = {name: entry for name, entry in head["tensors"].items() if "stored" not in entry}
    return {**head, **hashes, "tensors": tensors}, stored
