"""A layer of a found network, from its packed codes, against torch's own ways to multiply with it, level by level.

Each level of instruction sets runs in a process of its own, in which torch and its libraries are held to it, too.

.venv/bin/python benchmarks/infer.py        (about four minutes)
"""

import copy
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict

import torch
import torch.nn.functional as F
from torch import nn

from harness import Timing, interleave, report
from untrained.native.library import levels, status
from untrained.packed import kernels
from untrained.packed.trits import pack_lists, pack_words

torch.set_num_threads(1)
DENSITIES = 0.5, 0.1, 0.03, 0.01
HELD_TO = {
    "avx512": {},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "portable": {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}


def rows(size: int, batch: int, density: float) -> list[Timing]:
    generator = torch.Generator().manual_seed(0)
    trits = torch.randint(0, 2, (size, size), generator=generator) * 2 - 1
    trits = (trits * (torch.rand(size, size, generator=generator) < density)).to(torch.int8)
    scale = torch.tensor(0.03125)
    linear = nn.Linear(size, size, bias=False).requires_grad_(False)
    linear.weight.copy_(trits * scale)
    x = torch.randn(batch, size, generator=generator)
    library, level, reason = status()
    assert library is not None, f"this needs the kernels: {reason}"
    words, (steps, starts) = pack_words(trits), pack_lists(trits)
    by_lists = density <= kernels.LISTS_UP_TO[level]
    as_many_bytes = torch.ones((steps if by_lists else words).nbytes // 4)

    variants: dict[str, Callable[[], object]] = {
        "torch float32": lambda: F.linear(x, linear.weight),
        "untrained: lookup": lambda: kernels.product(library, words, None, scale, None, x, size, size),
        "untrained: lists": lambda: kernels.product(library, steps, starts, scale, None, x, size, size),
        "floor: reading the packed bytes": lambda: as_many_bytes.sum(),
    }
    if level == "avx512":
        int8, half, half_x = _int8(linear), linear.weight.bfloat16(), x.bfloat16()
        variants["torch bfloat16"] = lambda: F.linear(half_x, half)
        variants["torch int8 dynamic"] = lambda: int8(x)
    if density <= kernels.LISTS_UP_TO["portable"]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is in beta
            csr, columns = linear.weight.to_sparse_csr(), x.T.contiguous()
        variants["torch CSR"] = lambda: csr @ columns
    else:
        del variants["untrained: lists"]  # which would take more bytes than words
    # Small ones often enough that the clock's own time does not count.
    often = max(1, int(4e7 / (size * size) / batch**0.5))
    timed = interleave(
        {name: repeated(run, often) for name, run in variants.items()}, reference="torch float32", rounds=11
    )
    return [Timing(t.variant, t.ms / often, t.ratio, t.least, t.most) for t in timed]


def repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [run() for _ in range(times)]


def _int8(linear: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        from torch.ao.quantization import quantize_dynamic

        return quantize_dynamic(nn.Sequential(copy.deepcopy(linear)), {nn.Linear}, dtype=torch.qint8)


def measure(level: str) -> dict[str, list[Timing]]:
    return {
        f"{level}: weights {size} x {size}, {density:.0%} kept, batch {batch}": rows(size, batch, density)
        for size in (1024, 4096)
        for density in DENSITIES
        for batch in (1, 8, 64)
    }


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps({name: [asdict(t) for t in timings] for name, timings in measure(sys.argv[1]).items()}))
        sys.exit()
    tables: dict[str, list[Timing]] = {}
    for level in levels():
        command = [sys.executable, __file__, level]
        held = {**os.environ, **HELD_TO[level], "UNTRAINED_NATIVE": level}
        shown = subprocess.run(command, env=held, stdout=subprocess.PIPE, text=True, check=True).stdout
        tables |= {name: [Timing(**t) for t in timings] for name, timings in json.loads(shown).items()}
    report("infer", tables)
