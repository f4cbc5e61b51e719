"""A second reader of ticket files, written from docs/format.md and nothing else. It imports nothing of untrained."""

import functools
import hashlib
import itertools
import json
import math
import struct

import numpy as np

from second_compact import codes_in_contexts, read_compact

GAINS = {"relu": 2**0.5, "linear": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "selu": 0.75, "elu": 3**0.5}
GAINS["leaky_relu"] = math.sqrt(2 / (1 + 0.01 * 0.01))
UNITS = {"SignedConstant": "sign", "XavierConstant": "sign", "UnsignedConstant": "one", "Prototype": "sign"}
UNITS |= {"KaimingNormal": "normal", "XavierNormal": "normal"}
UNITS |= {"KaimingUniform": "uniform", "XavierUniform": "uniform", "Standard": "uniform"}
A = [2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080]  # fmt: skip
B = [5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0]  # fmt: skip
C = [7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258,
     3.64784832476320460504, 5.76949722146069140550, 4.63033784615654529590, 1.42343711074968357734]  # fmt: skip
D = [1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
     6.89767334985100004550e-1, 1.67638483018380384940, 2.05319162663775882187, 1.0]  # fmt: skip
SPELLED = {"U8": "uint8", "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64"}
MASKING = {"EdgePopup", "RandomSubnetwork", "Dense", "GemMiner", "FedPM", "RelaxedBernoulli"}
MULTIPLYING = {"Threshold", "SignedSupermask", "Multicoated"}

# Numbers of every dtype are held in float64: the product of two of less than float64 is exact there, and is then
# rounded once.


def rounded(values, dtype):
    """Float64s rounded to a dtype, once, ties to even."""
    if dtype != "bfloat16":
        return values.astype(dtype).astype(np.float64)
    unit = np.ldexp(1.0, np.maximum(np.frexp(values)[1], -125) - 8)  # of the last of 8 bits
    return np.rint(values / unit) * unit


def to_bytes(values, dtype):
    if dtype != "bfloat16":
        return values.astype(f"<f{int(dtype.removeprefix('float')) // 8}").tobytes()
    return (values.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()


def from_bytes(data, dtype):
    if dtype != "bfloat16":
        return np.frombuffer(data, f"<f{int(dtype.removeprefix('float')) // 8}").astype(np.float64)
    return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype(np.float64)


def words(seed, name, draw, count):
    h0, h1 = struct.unpack("<II", hashlib.sha256(name.encode()).digest()[:8])
    block = np.arange(-(-count // 4), dtype=np.uint64) + np.uint64(draw * 2**32)
    c0, c1, c2, c3, k0, k1 = block % 2**32, block >> 32, h0, h1, seed % 2**32, seed >> 32
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = second >> 32 ^ c1 ^ k0, second % 2**32, first >> 32 ^ c3 ^ k1, first % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return np.stack([c0, c1, c2, c3], 1).reshape(-1)[:count].tolist()


def polynomial(coefficients, x):
    total = 0.0
    for coefficient in coefficients:
        total = total * x + coefficient
    return total


def ln(x):
    m, e = math.frexp(x)
    if m < 0.7071067811865476:
        m, e = m * 2, e - 1
    t = (m - 1) / (m + 1)
    return 2 * t * polynomial([1 / odd for odd in range(23, 0, -2)], t * t) + e * 0.6931471805599453


def normal(word):
    q = (2 * word + 1 - 2**32) * 2.0**-33
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return q * (polynomial(A, r) / polynomial(B, r))
    r = math.sqrt(-ln(0.5 - abs(q))) - 1.6
    return math.copysign(polynomial(C, r) / polynomial(D, r), q)


def units(kind, seed, name, draw, n):
    if kind == "sign":
        drawn = words(seed, name, draw, -(-n // 32))
        return [1.0 if drawn[i // 32] >> i % 32 & 1 else -1.0 for i in range(n)]
    if kind == "one":
        return [1.0] * n
    drawn = words(seed, name, draw, n)
    if kind == "uniform":
        return [(2 * (word // 2**8) + 1 - 2**24) * 2.0**-24 for word in drawn]
    return [normal(word) for word in drawn]


def scale_of(law, shape, keep):
    fan_in, fan_out = shape[1] * math.prod(shape[2:]), shape[0] * math.prod(shape[2:])
    name, gain = law["name"], GAINS[law.get("nonlinearity", "linear")]
    if name == "Standard":
        scale = 1 / math.sqrt(fan_in)
    elif name.startswith("Xavier"):
        scale = gain * math.sqrt(2 / (fan_in + fan_out))
    else:
        scale = gain / math.sqrt(fan_in if law["fan"] == "in" else fan_out)
    if name in ("KaimingUniform", "XavierUniform"):
        scale = math.sqrt(3) * scale
    return scale * math.sqrt(1 / keep) if law["scaled"] else scale


def draw_of(law, seed, name, draw, entry, keep):
    """A draw of a tensor, in its dtype."""
    n = math.prod(entry["shape"])
    if not n:
        return np.zeros(0)
    if law["name"] == "Prototype":
        signs = units("sign", seed, "prototype", draw, law["length"])
        drawn = [signs[i % law["length"]] for i in range(n)]
    else:
        drawn = units(UNITS[law["name"]], seed, name, draw, n)
    scale = np.float32(scale_of(law, entry["shape"], keep))
    return rounded((np.array(drawn, np.float32) * scale).astype(np.float64), entry["dtype"])


def codes_of(entry, n, data):
    values, counts = entry["values"], entry["counts"]
    assert sum(counts) == n and values == sorted(set(values))
    if entry["coding"] == "bits":
        width = math.ceil(math.log2(len(values))) if len(values) > 1 else 0
        assert len(data) == math.ceil(n * width / 8)
        number = int.from_bytes(data, "little")
        symbols = [number >> i * width & (2**width - 1) for i in range(n)]
        assert number >> n * width == 0
    else:
        frequencies = [max(1, count * 2**24 // n) for count in counts]
        frequencies[counts.index(max(counts))] += 2**24 - sum(frequencies)
        starts = [0, *itertools.accumulate(frequencies)]
        left, state, symbols = list(struct.unpack(f"<{len(data) // 4}I", data)), 0, []
        assert left[-1] != 0
        while state < 2**32 and left:
            state = state * 2**32 + left.pop()
        for _ in range(n):
            q = state % 2**24
            i = next(i for i in range(len(counts)) if starts[i] <= q < starts[i + 1])
            state = state // 2**24 * frequencies[i] + q - starts[i]
            if state < 2**32 and left:
                state = state * 2**32 + left.pop()
            symbols.append(i)
        assert state == 0 and not left
    assert [symbols.count(i) for i in range(len(values))] == counts
    return np.array([values[symbol] for symbol in symbols], np.int64)


def alpha(magnitudes, dtype):
    """The mean of them, in whole units of their maximum, not yet rounded to the dtype."""
    magnitudes = magnitudes.astype(np.float64 if dtype == "float64" else np.float32)
    m = magnitudes.max(initial=0)
    m = m if m else magnitudes.dtype.type(1)
    total = sum(int(u) for u in np.rint(magnitudes / m * magnitudes.dtype.type(2**22)))
    return float(m) * 2.0**-22 * total / max(1, len(magnitudes))


def twice_rounded(value, dtype):
    """A float64 rounded to float32, and then to the dtype."""
    return rounded(value if dtype == "float64" else rounded(value, "float32"), dtype)


def effective(method, drawn, codes, dtype, shape=()):
    """The effective weights of codes. `drawn` is a function: the number of a draw → all its elements."""
    name, used = method["name"], codes != 0
    if name in MASKING or (name == "Bernoulli" and not method["rescale"]):
        weights = drawn(0)
    elif name in MULTIPLYING:
        weights = rounded(drawn(0) * codes, dtype)
    elif name == "Nudge":
        assert len(shape) >= 2
        fraction, exponent = math.frexp(method["step"] / math.sqrt(max(1, math.prod(shape[1:]))))
        step = math.ldexp(round(fraction * 2**16), exponent - 16)
        weights = codes * step if method["around"] == "zero" else drawn(0) + (codes - method["levels"] - 1) * step
        weights = rounded(weights if dtype == "float64" else rounded(weights, "float32"), dtype)
    elif name == "Bernoulli":
        r = twice_rounded(np.float64(len(codes)) / np.float64(max(1, used.sum())), dtype)
        weights = rounded(drawn(0) * r, dtype)
    elif name == "Biprop":
        weights = twice_rounded(np.float64(alpha(abs(drawn(0)[used]), dtype)), dtype) * np.sign(drawn(0))
    else:
        assert name in ("SlotMachines", "IteRand"), name
        assert name == "IteRand" or not len(codes) or 1 <= codes.min() <= codes.max() <= method["values"]
        weights = np.zeros(len(codes))
        for code in set(codes[used].tolist()):
            weights[codes == code] = drawn(code % 256 - 1)[codes == code]
    return np.where(used, weights, 0.0)


def masked(method, seed, name, drawn, entry, codes_at):
    """The effective weights of a masked tensor; `codes_at` gives the stored codes of elements at some places."""
    n = math.prod(entry["shape"])
    if method["name"] != "PartlyFrozen":
        return effective(method, drawn, codes_at(range(n)), entry["dtype"], entry["shape"])
    p = (np.array(units("uniform", seed, f"{name}#start", 0, n)) + 1) / 2
    dropped = p < method["pruned"]
    free = ~dropped & ~(p >= 1 - method["locked"])
    weights = np.where(dropped, 0.0, drawn(0))
    codes = codes_at(np.flatnonzero(free).tolist())
    weights[free] = effective(method["of"], lambda draw: drawn(draw)[free], codes, entry["dtype"])
    return weights


def units_above(head, name, shape):
    """For each element 1 if its unit of draw 0 is above 0, else 0."""
    law = {**head["weights"], "scaled": False}
    entry = {"shape": shape, "dtype": "float32"}
    return [int(weight > 0) for weight in draw_of(law, head["seed"], name, 0, entry, 1.0)]


def read_plain(file):
    """Header and stored tensors of a file of format 1."""
    size = int.from_bytes(file[:8], "little")
    index, data = json.loads(file[8 : 8 + size]), file[8 + size :]
    text = index.pop("__metadata__")["untrained"]
    stored = {}
    for name, line in index.items():
        start, end = line["data_offsets"]
        stored[name] = SPELLED[line["dtype"]], tuple(line["shape"]), data[start:end]
    head = json.loads(text)
    assert json.dumps(head, sort_keys=True, separators=(",", ":"), allow_nan=False) == text
    assert head["format"] == 1

    claimed = head.pop("sha256")
    digest = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode())
    for name, (dtype, shape, content) in sorted(stored.items()):
        digest.update(f"\n{name} {dtype} {','.join(map(str, shape))}\n".encode() + content)
    assert digest.hexdigest() == claimed
    return head, stored


def read_ticket(file, base=None):
    """All tensors of a ticket: name → (dtype, shape, bytes). `base` holds a pretrained model's, likewise."""
    compact = file[:8] == b"ticket 2"
    head, stored = read_compact(file, from_bytes, to_bytes) if compact else read_plain(file)
    read = {name.removeprefix("extra/"): value for name, value in stored.items() if name.startswith("extra/")}
    full, sample = hashlib.sha256(), hashlib.sha256()
    for name, entry in sorted(head["tensors"].items()):
        shape, dtype, n = tuple(entry["shape"]), entry["dtype"], math.prod(entry["shape"])
        method = head["methods"][entry["method"]] if "method" in entry else {}
        keep = method.get("of", method).get("keep", 1.0)

        def drawn(draw, name=name, entry=entry, keep=keep):
            if head["weights"] is None:
                assert draw == 0
                return from_bytes(base[name][2], entry["dtype"])
            return draw_of(head["weights"], head["seed"], name, draw, entry, keep)

        if "constant" in entry:
            weights = rounded(np.full(n, entry["constant"]), dtype)
        elif method:
            data = stored[f"codes/{name}"][2]

            def codes_at(places, name=name, entry=entry, data=data):
                if not compact:
                    return codes_of(entry, len(places), data)
                above = functools.partial(units_above, head, name, entry["shape"])
                return codes_in_contexts(data, head, name, entry["shape"], places, above)

            weights = masked(method, head["seed"], name, drawn, entry, codes_at)
        else:
            weights = drawn(0)
        m = min(256, n)
        for whole, part in ((full, weights), (sample, weights[[j * n // m for j in range(m)]] if n else weights)):
            whole.update(f"\n{name}\n".encode() + to_bytes(part, dtype))
        read[name] = dtype, shape, to_bytes(weights, dtype)
    assert (full.hexdigest(), sample.hexdigest()) == (head["weights_sha256"], head["sample_sha256"])
    return read, {entry["coding"] for entry in head["tensors"].values() if "coding" in entry}
