"""The choice alone: exact top half of n scores, and the masked weight made from it, against torch's own selections.

.venv/bin/python benchmarks/choice.py        (about a minute)
"""

import torch

from harness import Timing, interleave, report
from untrained.select import keep_top
from untrained.weights import SignedConstant

torch.set_num_threads(1)


def rows(n: int) -> list[Timing]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(n, generator=generator) * 2 - 1
    weights = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1
    mask, out = (scores > 0).float(), torch.empty(n)

    def naive() -> torch.Tensor:
        """What the authors' code does: sort, write zeros and ones at the indices, multiply."""
        ranks = scores.abs()
        _, order = ranks.flatten().sort()
        chosen = ranks.clone()
        flat = chosen.flatten()
        flat[order[: n // 2]] = 0
        flat[order[n // 2 :]] = 1
        return weights * flat

    return interleave(
        {
            "torch.sort alone": lambda: torch.sort(scores),
            "sort-based mask and multiply": naive,
            "torch.kthvalue alone": lambda: scores.kthvalue(n // 2),
            "torch.topk alone": lambda: torch.topk(scores, n // 2, sorted=False),
            "untrained: choice and multiply": lambda: keep_top([weights], [scores], 0.5, False, "w"),
            "floor: weights * mask, mask known": lambda: torch.mul(weights, mask, out=out),
        },
        reference="torch.sort alone",
        rounds=15,
    )


def drawing() -> list[Timing]:
    shape = (5000, 5100)
    out = torch.empty(shape)
    return interleave(
        {
            "SignedConstant of 25.5 M weights": lambda: SignedConstant().draw(shape, seed=0, name="w"),
            "torch.randn of as many": lambda: torch.randn(shape),
            "floor: fill_": lambda: out.fill_(1.0),
        },
        reference="torch.randn of as many",
        rounds=7,
    )


if __name__ == "__main__":
    tables = {f"choice of half of n = {n:,}": rows(n) for n in (10_000, 100_000, 1_000_000, 2_400_000)}
    report("choice", {**tables, "weights from a seed": drawing()})
