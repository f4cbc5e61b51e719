"""All kernels under the address and undefined-behaviour sanitizers, in a process of their own."""

import ctypes
import math
import os
import subprocess
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from kernel_problems import EXTREMES, KINDS, SPECIAL, Says, built, mask_problem, rng, run_python

from untrained.native import bank as bank_kernels
from untrained.native import choice as kernels
from untrained.native import compiler, contexts
from untrained.native import library as found
from untrained.native import load as load_kernels
from untrained.native.compiler import NoCompiler, find_library
from untrained.native.library import Status, levels, load
from untrained.packed import kernels as packed_kernels
from untrained.packed.trits import pack_lists, pack_words

# --- sanitizers: what the subprocess runs, level by level ---

EDGES = [
    0,
    1,
    2,
    7,
    8,
    9,
    15,
    16,
    17,
    31,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    257,
    1000,
    8191,
    8192,
    8193,
    140_001,
]
LARGE = 70_000  # on two threads


def sanitized_choices():
    for n in (*EDGES[1:], LARGE):
        weights = torch.ones(n)
        for kind in ("normal",) if n == LARGE else ("normal", "special", "equal"):
            scores = KINDS[kind](n, rng(n))
            for signed in (False, True):
                for count in {1, -(-n // 3), n}:
                    for _ in range(2):
                        kernels.keep_top([weights], [scores], count, signed)
    scores = [torch.randn(n, generator=rng(n)) for n in EDGES]
    n = sum(EDGES)
    for count in (1, n // 5, n):
        kernels.keep_top([torch.ones(len(s)) for s in scores], scores, count, False)


def sanitized_hints():
    scores, before = torch.randn(9000, generator=rng()), kernels._hints
    for threshold in EXTREMES:
        for width in EXTREMES:
            kernels._hints = Says(threshold, width)
            for kind in (scores, torch.zeros(9000), SPECIAL.repeat(1125)):
                for signed in (False, True):
                    kernels.keep_top([scores], [kind], 2000, signed)
    kernels._hints = before


def sanitized_nan():
    for n in (1, 129, 9000):
        scores = torch.full((n,), math.nan)
        assert kernels.keep_top([scores], [scores], 1, False) is None
        assert kernels.keep_top([scores], [-scores], 1, True) is None


def sanitized_ways_back():
    for n in (*EDGES, LARGE):
        gradient, weights, scores = (KINDS[kind](n, rng(n)) for kind in ("any", "normal", "special"))
        for signed in (False, True):
            kernels.straight_through(gradient, weights, scores, signed)


def sanitized_nudges():
    for n in (*EDGES, LARGE):
        weights, scores = (KINDS[kind](n, rng(n)) for kind in ("any", "special"))
        for frozen in (None, weights):
            kernels.nudge(frozen, scores, 0.3, 63)


def sanitized_loads():
    drawn = np.random.default_rng(0)
    stream = load_kernels.Stream((1, 2), (3, 4), 5, np.float32(0.5))
    for n in (*EDGES, LARGE):
        out, bits = np.empty(n, np.float32), drawn.integers(0, 256, -(-n // 8), np.uint8)
        load_kernels.draw_signs(stream, out)
        load_kernels.draw_signs(stream, out, bits)
        load_kernels.draw_positive(stream, n)
        load_kernels.count_bits(bits)
        load_kernels.draw_signs_at(stream, drawn.integers(0, max(n, 1), min(n, 100)), bits)
    for frequency in (1, 1 << 23, (1 << 24) - 1):  # damaged data, with too few words and with too many
        load_kernels.decode_two([(drawn.bytes(4 * (n // 30)), n, frequency) for n in EDGES])
        load_kernels.decode_two([(drawn.bytes(4 * (n + 2)), n, frequency) for n in EDGES])


def sanitized_contexts():
    drawn = np.random.default_rng(1)
    for n in EDGES:
        contexts.score_bins(n, 6, n % 2 == 1, n)
    for shape in ((1, 1), (3, 50), (17, 19), (2, 700), (0, 5), (4, 0)):
        n, (rows, columns) = shape[0] * shape[1], shape
        random = [drawn.integers(0, 2, n).astype(kind) for kind in (np.uint8, np.uint8, np.bool_, np.bool_)]
        effects = [drawn.integers(-(1 << 15), 1 << 15, (2, each)).astype(np.int32) for each in (rows, columns)]
        for bins, positive in ((None, None), (random[0], None), (None, random[2]), (random[0], random[2])):
            grid = contexts.Grid(bins, positive, np.array([-300, 4000], np.int32), *effects, shape)
            levels = contexts.find_levels(grid)
            table = np.arange(255, dtype=np.int32)
            contexts.sum_slopes(grid, random[1], random[3], table, table)
            contexts.count_effects(grid, random[1], random[3], 254)
            counts = contexts.count_bytes(levels)
            contexts.place_bits(levels, random[1], np.cumsum(counts) - counts, bool(rows % 2))
    words = drawn.integers(1, 1 << 32, 40).astype(np.uint32)
    streams = [load_kernels.BitStream.of(words[:n].copy()) for n in (1, 2, 7, 40, 40)]
    for most in (0, 1, 300):  # some runs have no bits at all, and one stream no runs
        counts = [drawn.integers(0, most + 1, n) for n in (0, 1, 9, 3, 2)]
        runs = [(drawn.integers(1, 1 << 24, len(each)).astype(np.uint32), each) for each in counts]
        load_kernels.read_bits(streams, runs)


def sanitized_masks():
    for n in (*EDGES, LARGE):
        for masks in (1, 3):
            bits, weight = mask_problem("normal", n, masks)
            bank_kernels.place_masked(bits[0], weight, torch.empty(n))
            bank_kernels.mix_masks(bits, [0.5] * masks, weight)
            bank_kernels.project_masks(bits, weight)
            for rows in (r for r in (1, 3, 7) if n and n % r == 0):
                bank_kernels.project_rows(bits, weight.reshape(rows, -1))


SANITIZED = [
    sanitized_choices,
    sanitized_contexts,
    sanitized_hints,
    sanitized_nan,
    sanitized_ways_back,
    sanitized_loads,
    sanitized_masks,
    sanitized_nudges,
]
"""All that runs under the sanitizers; tensors and arrays of the exact size, so that one step too far is seen."""
FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g1", "-O1")


def sanitized_packed():
    generator = torch.Generator().manual_seed(3)
    library = found.status().library
    for rows, columns in ((1, 1), (3, 17), (16, 18), (17, 19), (513, 37), (1030, 70), (5, 300), (9, 70_000)):
        trits = torch.randint(-1, 2, (rows, columns), generator=generator).to(torch.int8)
        trits *= torch.rand(rows, columns, generator=generator) < 20 / columns
        for batch in (1, 3, 5, 9, 20):
            x, scale, bias = torch.randn(batch, columns, generator=generator), torch.tensor(0.5), torch.randn(rows)
            expected = x @ (0.5 * trits.float()).T + bias
            for codes, starts in ((pack_words(trits), None), pack_lists(trits)):
                y = packed_kernels.product(library, codes, starts, scale, bias, x, rows, columns)
                torch.testing.assert_close(y, expected)


SANITIZED.append(sanitized_packed)


def run_sanitized():
    """Call everything in SANITIZED with every level's library; in a process where the sanitizers were loaded first."""
    torch.set_num_threads(2)
    for level in levels():
        library = load(level, FLAGS)
        found.status = lambda library=library, level=level: Status(library, level, "")
        for each in SANITIZED:
            each()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of threads, which the child does not use
    child = os.fork()
    if child == 0:  # the guard itself must be awake: this reads and writes one too far
        four = [torch.ones(100) for _ in range(4)]
        pointers = [ctypes.c_void_p(each.data_ptr()) for each in four]
        kernels._library().straight_through(*pointers, ctypes.c_int64(101), 0)
        os._exit(0)
    print("caught" if os.waitpid(child, 0)[1] else "missed")


def runtime_of(name):
    """The compiler's own runtime library of that name, or a skip."""
    try:
        command = [*compiler._compiler(), f"-print-file-name={name}"]
    except NoCompiler as why:
        pytest.skip(str(why))
    path = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"no {name} here")
    return path


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the sanitizers' runtime is preloaded")
def test_no_kernel_leaves_its_memory(monkeypatch, pytestconfig):
    preload = f"{runtime_of('libasan.so')} {runtime_of('libubsan.so')}"
    folder = pytestconfig.cache.mkdir("sanitized")  # kept until the sources change
    folder.chmod(0o700)
    monkeypatch.setenv("UNTRAINED_CACHE", str(folder))
    for old in set(folder.iterdir()) - {find_library(level, FLAGS) for level in levels()}:
        old.unlink()
    try:
        with ThreadPoolExecutor(2) as pool:  # here, where the compiler runs without them
            list(pool.map(lambda level: built(level, FLAGS), levels()))
    except NoCompiler as why:
        pytest.skip(f"no sanitizers: {why}")
    done = run_python(
        "import test_sanitizers; test_sanitizers.run_sanitized()", LD_PRELOAD=preload, ASAN_OPTIONS="detect_leaks=0"
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split() == ["caught"]
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
