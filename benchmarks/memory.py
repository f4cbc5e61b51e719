"""Memory that a search needs beside what dense training needs, in bytes a weight, as the kernel counts pages.

.venv/bin/python benchmarks/memory.py           (about a minute; Linux)

One matrix of 25 million weights. Between steps: what is held. Within: the most that is held at once, above that.
"""

import multiprocessing
import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

import untrained as ut
from harness import without_kernels, write
from step import SGD, NaiveLayer, SortedMask, fused
from untrained.selection.straight_through import keep_top

SIDE = 5000


def held(what: str) -> int:
    """Bytes of this process in memory (VmRSS), or the most since `forget_peak` (VmHWM)."""
    return 1024 * int(re.search(what + r":\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))[1])


def peak_of(run: Callable[[], object]) -> float:
    """Bytes a weight that a run holds at once, at most, beyond what is held before it."""
    before = held("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    run()
    return (held("VmHWM") - before) / SIDE**2


def matrix() -> nn.Module:
    return nn.Sequential(nn.Linear(SIDE, SIDE, bias=False))


def choice(kind: str) -> dict[str, float]:
    """The masked weight from scores, alone, for the first time; its own four bytes are in it."""
    weights, scores = torch.ones(SIDE, SIDE), torch.rand(SIDE, SIDE) - 0.5
    ranks = scores.abs()
    run = {
        "naive": lambda: weights * SortedMask.apply(ranks),
        "torch.topk": lambda: weights * (ranks >= ranks.flatten().topk(SIDE**2 // 2, sorted=False).values.min()),
    }.get(kind, lambda: keep_top([weights], [scores], 0.5, False, ["w"]))
    with without_kernels() if kind == "no compiler" else nullcontext():
        keep_top([weights[:200]], [scores[:200]], 0.5, False, ["w"])  # what is loaded and started is not counted
        return {"within": peak_of(run)}


def step(kind: str) -> dict[str, float]:
    """A whole step of SGD with momentum, batch of one."""
    before = held("VmRSS")
    model = matrix()
    if kind == "naive":
        model[0] = NaiveLayer(model[0])
        optimizer = fused([model[0].scores])
    elif kind == "dense":
        optimizer = fused(model.parameters())
    else:
        ut.mask_(model, ut.EdgePopup(keep=0.5))
        optimizer = ut.optim.SGD(model, **SGD)
    x = torch.randn(1, SIDE)

    def one() -> None:
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    with without_kernels() if kind == "no compiler" else nullcontext():
        for _ in range(3):
            one()
        between = (held("VmRSS") - before) / SIDE**2
        return {"between": between, "within": peak_of(one)}


def apart(measure: Callable[[str], dict[str, float]], kind: str) -> dict[str, float]:
    """In a process of its own, where nothing was held before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (kind,))


if __name__ == "__main__":
    rows = [
        {"what": "choice: the masked weight", "variant": kind, **apart(choice, kind)}
        for kind in ("native", "no compiler", "torch.topk", "naive")
    ]
    rows += [
        {"what": "a step with momentum", "variant": kind, **apart(step, kind)}
        for kind in ("dense", "native", "no compiler", "naive")
    ]
    for row in rows:
        between = f"{row['between']:5.1f} between steps," if "between" in row else " " * 20
        print(f"{row['what']:28} {row['variant']:12} {between} {row['within']:5.1f} within; bytes a weight")
    write("memory", rows)
