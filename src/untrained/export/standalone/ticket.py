"""Reading of a ticket by numpy alone, which `untrained export --to numpy` writes into its file, from docs/format.md."""

import hashlib
import io
import json
import math
import zlib

import numpy as np

DICTIONARY = ""  # of compressed headers; the exporter writes it
MASKS = ("EdgePopup", "RandomSubnetwork", "Dense", "GemMiner", "FedPM", "RelaxedBernoulli")
GAINS = {"relu": 2**0.5, "linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "selu": 0.75, "elu": 3**0.5}
GAINS["leaky_relu"] = math.sqrt(2 / (1 + 0.01 * 0.01))
ROOTS = 65536, 71468, 77936, 84990, 92682, 101070, 110218, 120194
# fmt: off
A = [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080]
B = [5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0]
C = [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734]
D = [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0]
# fmt: on


def words(seed, name, draw, count):
    """Uint32 numbers of Philox4x32-10, of which each draw of a tensor has its own."""
    h0, h1 = np.frombuffer(hashlib.sha256(name.encode()).digest()[:8], "<u4").tolist()
    block = np.arange(-(-count // 4), dtype=np.uint64) + np.uint64(draw * 2**32)
    c0, c1, c2, c3, k0, k1 = block % 2**32, block >> 32, h0, h1, seed % 2**32, seed >> 32
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = second >> 32 ^ c1 ^ k0, second % 2**32, first >> 32 ^ c3 ^ k1, first % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], 1).reshape(-1)[:count].astype("<u4")


def normal(word):
    q = (2 * word.astype(float) + 1 - 2**32) * 2.0**-33
    r = 0.180625 - q * q
    middle = q * (np.polyval(A, r) / np.polyval(B, r))
    m, e = np.frexp(0.5 - abs(q))  # of whose logarithm the tails are made
    low = m < 0.7071067811865476
    m, e = np.where(low, m * 2, m), e - low
    t = (m - 1) / (m + 1)
    ln = 2 * t * np.polyval([1 / odd for odd in range(23, 0, -2)], t * t) + e * 0.6931471805599453
    r = np.sqrt(-ln) - 1.6
    return np.where(abs(q) <= 0.425, middle, np.copysign(np.polyval(C, r) / np.polyval(D, r), q))


def units(law, seed, name, draw, n):
    if law == "UnsignedConstant":
        return np.ones(n)
    if law in ("SignedConstant", "XavierConstant", "Prototype"):
        return np.unpackbits(words(seed, name, draw, -(-n // 32)).view("u1"), bitorder="little")[:n] * 2.0 - 1
    drawn = words(seed, name, draw, n)
    return normal(drawn) if law.endswith("Normal") else ((drawn >> 8) * 2.0 + 1 - 2**24) * 2.0**-24


def scale_of(law, shape, keep):
    fan_in, fan_out = shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])
    name, gain = law["name"], GAINS[law.get("nonlinearity", "linear")]
    if name == "Standard":
        scale = 1 / math.sqrt(fan_in)
    elif name.startswith("Xavier"):
        scale = gain * math.sqrt(2 / (fan_in + fan_out))
    else:
        scale = gain / math.sqrt(fan_in if law["fan"] == "in" else fan_out)
    scale = math.sqrt(3) * scale if name in ("KaimingUniform", "XavierUniform") else scale
    return scale * math.sqrt(1 / keep) if law["scaled"] else scale


def draw_of(head, name, shape, keep, draw=0):
    """All elements of a draw of a tensor, float32."""
    law, n = head["weights"], math.prod(shape)
    if law["name"] == "Prototype":
        drawn = np.resize(units("Prototype", head["seed"], "prototype", draw, min(n, law["length"])), n)
    else:
        drawn = units(law["name"], head["seed"], name, draw, n)
    return drawn.astype(np.float32) * np.float32(scale_of(law, shape, keep)) if n else np.zeros(0, np.float32)


def effective(method, drawn, codes, shape=()):
    """The weights that codes mean; `drawn` gives all elements of a draw."""
    name, used = method["name"], codes != 0
    if name in MASKS or (name == "Bernoulli" and not method["rescale"]):
        weights = drawn(0)
    elif name == "Bernoulli":
        weights = drawn(0) * np.float32(len(codes) / max(1, used.sum()))
    elif name in ("Threshold", "SignedSupermask", "Multicoated"):
        weights = drawn(0) * codes.astype(np.float32)
    elif name == "Nudge":
        fraction, exponent = math.frexp(method["step"] / math.sqrt(max(1, math.prod(shape[1:]))))
        step = math.ldexp(round(fraction * 2**16), exponent - 16)
        moved = drawn(0) + (codes - method["levels"] - 1) * step
        weights = moved if method["around"] == "weight" else codes * step
    elif name == "Biprop":
        sizes = abs(drawn(0)[used])
        most = sizes.max(initial=0) or np.float32(1)
        total = int(np.rint(sizes / most * np.float32(2**22)).astype(np.int64).sum())
        weights = np.float32(float(most) * 2.0**-22 * total / max(1, len(sizes))) * np.sign(drawn(0))
    elif name in ("SlotMachines", "IteRand"):
        weights = np.zeros(len(codes))
        for code in set(codes[used].tolist()):
            weights[codes == code] = drawn(code % 256 - 1)[codes == code]
    else:
        raise ValueError(f"its method {name} is not known to this file")
    return np.where(used, weights, 0).astype(np.float32)


def weights_of(head, name, entry, data):
    """The weights of a tensor, and their codes in `data`, if it is masked."""
    shape, n = entry["shape"], math.prod(entry["shape"])
    if "constant" in entry:
        return np.full(n, entry["constant"], np.float32)
    method: dict = head["methods"][entry["method"]] if "method" in entry else {"name": "Dense"}

    def drawn(draw):
        return draw_of(head, name, shape, method.get("of", method).get("keep", 1.0), draw)

    if "method" not in entry:
        return drawn(0)
    if method["name"] != "PartlyFrozen":
        return effective(method, drawn, codes_of(head, name, shape, data, np.arange(n)), shape)
    p = (units("Standard", head["seed"], f"{name}#start", 0, n) + 1) / 2
    free = (p >= method["pruned"]) & (p < 1 - method["locked"])
    weights = np.where(p < method["pruned"], np.float32(0), drawn(0))
    codes = codes_of(head, name, shape, data, np.flatnonzero(free))
    weights[free] = effective(method["of"], lambda draw: drawn(draw)[free], codes)
    return weights


def varint(file):
    byte = file.read(1)[0]
    return byte if byte < 128 else byte - 128 + 128 * varint(file)


def signed(file, n):
    return np.frombuffer(file.read(n), "i1").tolist()


class Stream:
    """Symbols of an asymmetric numeral system."""

    def __init__(self, data):
        self.words, self.state = np.frombuffer(data, "<u4").tolist(), 0
        while self.state < 2**32 and self.words:
            self.state = self.state * 2**32 + self.words.pop()

    def bits(self, level, n):
        """The next n bits, whose odds are about 2^(level/8) to one."""
        rare = 2**40 // (2**16 + ROOTS[abs(level) % 8] * 2 ** (abs(level) // 8))
        zeros, state, words, bits = (2**24 - rare if level < 0 else rare), self.state, self.words, bytearray(n)
        for i in range(n):
            q = state % 2**24
            if q < zeros:
                state = (state >> 24) * zeros + q
            else:
                bits[i] = 1
                state = (state >> 24) * (2**24 - zeros) + q - zeros
            if state < 2**32 and words:
                state = state << 32 | words.pop()
        self.state = state
        return np.frombuffer(bytes(bits), "u1").astype(int)

    def tree(self, levels, n):
        """The next n numbers, each of as many bits as the largest needs."""
        k, left, symbols = len(levels) + 1, iter(levels), np.zeros(n, int)
        for j in reversed(range((k - 1).bit_length())):
            for start in range(0, k - 2**j, 2 * 2**j):
                at = np.flatnonzero(symbols >> j + 1 == start >> j + 1)
                symbols[at] |= self.bits(next(left), len(at)) << j
        return symbols


def codes_of(head, name, shape, data, places):
    """The codes of the elements at these places, which are stored in `data`."""
    file, n = io.BytesIO(data), len(places)
    values = signed(file, varint(file))
    if len(values) < 2:
        return np.array(values * n, int)
    kind = file.read(1)[0]
    if kind == 255:
        width, packed = (len(values) - 1).bit_length(), np.frombuffer(file.read(), "u1")
        bits = np.unpackbits(packed, count=n * width, bitorder="little").reshape(n, width)
        return np.array(sorted(values))[bits @ 2 ** np.arange(width)]
    b = kind % 128
    bins, sides = np.array(signed(file, 2**b)), []
    for count in (shape[0], math.prod(shape[1:])):  # the effects of rows and of columns
        step = file.read(1)[0]
        first, more = signed(file, 2) if step else (0, 0)
        sides.append((step % 128, first, signed(file, more), (count, 2 if step > 127 else 1)))
    nodes, stream = signed(file, len(values) - 2), Stream(file.read())
    effects = [step * (first + stream.tree(ks, math.prod(size))).reshape(size) for step, first, ks, size in sides]
    which, above = np.zeros(n, int), np.zeros(n, int)
    if b:  # the bins of the first scores
        digest = hashlib.sha256(f"scores/{head['seed']}/{name}".encode()).digest()
        twister = np.random.RandomState((int.from_bytes(digest[:8], "little") >> 1) % 2**32)
        v = np.frombuffer(twister.bytes(4 * math.prod(shape)), "<u4")[places].astype(int) % 2**24
        which = v >> 24 - b if kind > 127 else np.where(v < 2**23, 2**23 - 1 - v, v - 2**23) >> 23 - b
    if any(effect.shape[1] > 1 for effect in effects):
        above = (draw_of(head, name, shape, 1)[places] > 0).astype(int)
    level = bins[which]
    for effect, at in zip(effects, np.divmod(places, len(effects[1])), strict=True):
        level = level + effect[at, above % effect.shape[1]]
    level, others = level.clip(-127, 127), np.zeros(n, bool)
    for each in np.unique(level).tolist():
        others[level == each] = stream.bits(each, np.count_nonzero(level == each))
    codes = np.full(n, values[0])
    codes[others] = np.array(values)[1 + stream.tree(nodes, np.count_nonzero(others))]
    return codes


def numbers(data, kind):
    """The numbers of a stored tensor."""
    if kind == "bfloat16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if kind == "float8_e4m3fn":
        byte = np.frombuffer(data, "u1").astype(int)
        e, f = byte >> 3 & 15, byte & 7
        return np.where(byte > 127, -1, 1) * np.where(e == 0, f * 2.0**-9, (8 + f) * 2.0 ** (e - 10))
    return np.frombuffer(data, np.dtype(kind).newbyteorder("<"))


def read_ticket(data, check):
    """Header and tensors by name of a ticket's bytes; `check` may refuse the header before weights are drawn."""
    if data[:8] != b"ticket 2":
        raise ValueError("it is no ticket of format 2; ut.Ticket.load(path).save(path, format=2) writes one")
    if data[8:16] != hashlib.sha256(data[16:]).digest()[:8]:
        raise ValueError("it is damaged: its contents do not have the hash at its beginning")
    file = io.BytesIO(data[16:])
    claimed = file.read(64)[:32]
    head = json.loads(zlib.decompressobj(-15, DICTIONARY.encode()).decompress(file.read(varint(file)), 10**8))
    check(head)
    if head["weights"] is None:
        raise ValueError("its weights are those of a pretrained model")
    tensors, digest = {}, hashlib.sha256()
    for name, entry in sorted(head["tensors"].items()):
        if kind := entry.get("stored"):
            size = 1 if kind.startswith("float8") else 2 if kind == "bfloat16" else np.dtype(kind).itemsize
            tensors[name] = numbers(file.read(size * math.prod(entry["shape"])), kind).reshape(entry["shape"])
            continue
        weights = weights_of(head, name, entry, file.read(varint(file)) if "method" in entry else b"")
        digest.update(f"\n{name}\n".encode() + weights.astype("<f4").tobytes())
        tensors[name] = weights.reshape(entry["shape"])
    if digest.digest() != claimed:
        raise ValueError("its weights are not those that were found (sha256)")
    return head, tensors
