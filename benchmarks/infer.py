"""A layer of a found network, from its packed codes, against torch's own ways to multiply with it.

.venv/bin/python benchmarks/infer.py        (about two minutes)
"""

import copy
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from harness import Timing, interleave, report
from untrained.native.library import status
from untrained.packed import kernels
from untrained.packed.modules import SPARSE
from untrained.packed.trits import pack_places, pack_words

torch.set_num_threads(1)
DENSITIES = 0.5, 0.1, 0.05, 0.01
STILL_SPARSE = 0.1  # what goes by indices loses beyond, and slowly


def rows(size: int, batch: int, density: float) -> list[Timing]:
    generator = torch.Generator().manual_seed(0)
    trits = torch.randint(0, 2, (size, size), generator=generator) * 2 - 1
    trits = (trits * (torch.rand(size, size, generator=generator) < density)).to(torch.int8)
    scale = torch.tensor(0.03125)
    linear = nn.Linear(size, size, bias=False).requires_grad_(False)
    linear.weight.copy_(trits * scale)
    x = torch.randn(batch, size, generator=generator)
    int8, half, half_x = _int8(linear), linear.weight.bfloat16(), x.bfloat16()
    words, (places, starts) = pack_words(trits), pack_places(trits)
    as_many_bytes = torch.ones((words if density > SPARSE else places).nbytes // 4)
    library = status().library
    assert library is not None, f"this needs the kernels: {status().reason}"

    variants: dict[str, Callable[[], object]] = {
        "torch float32": lambda: F.linear(x, linear.weight),
        "torch bfloat16": lambda: F.linear(half_x, half),
        "torch int8 dynamic": lambda: int8(x),
        "untrained: lookup": lambda: kernels.product(library, words, None, scale, None, x, size, size),
        "untrained: indices": lambda: kernels.product(library, places, starts, scale, None, x, size, size),
        "floor: reading the packed bytes": lambda: as_many_bytes.sum(),
    }
    if density > STILL_SPARSE:
        del variants["untrained: indices"]
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is in beta
            csr, columns = linear.weight.to_sparse_csr(), x.T.contiguous()
        variants["torch CSR"] = lambda: csr @ columns
    # Small ones often enough that the clock's own time does not count.
    often = max(1, int(4e7 / (size * size) / batch**0.5))
    return [
        Timing(t.variant, t.ms / often, t.ratio, t.least, t.most)
        for t in interleave(
            {name: repeated(run, often) for name, run in variants.items()}, reference="torch float32", rounds=11
        )
    ]


def repeated(run: Callable[[], object], times: int) -> Callable[[], object]:
    return lambda: [run() for _ in range(times)]


def _int8(linear: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        from torch.ao.quantization import quantize_dynamic

        return quantize_dynamic(nn.Sequential(copy.deepcopy(linear)), {nn.Linear}, dtype=torch.qint8)


if __name__ == "__main__":
    report(
        "infer",
        {
            f"weights {size} x {size}, {density:.0%} kept, batch {batch}": rows(size, batch, density)
            for size in (1024, 4096)
            for density in DENSITIES
            for batch in (1, 8, 64)
        },
    )
