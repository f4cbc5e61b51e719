"""The choice alone: exact top half of n scores, and the masked weight made from it, against torch's own selections.

.venv/bin/python benchmarks/choice.py        (about two minutes)

Before every run of ours the scores have moved, as in a search. Not called select.py: Python has such a module.
"""

from unittest import mock

import torch
from torch import nn
from torch.nn.utils import prune

from harness import Timing, interleave, moving, ratios, report, take_turns, without_kernels
from untrained.native import choice as kernels
from untrained.selection.straight_through import keep_top
from untrained.weights.laws import SignedConstant

torch.set_num_threads(1)
PRODUCT, SORT = "torch.mul(weights, mask, out=), the mask known", "torch.sort alone"
OURS = "untrained: choice and multiply"


def tables(n: int) -> dict[str, list[Timing]]:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(n, generator=generator) * 2 - 1
    weights = torch.randint(0, 2, (n,), generator=generator) * 2.0 - 1
    mask, out, others = (scores > 0).float(), torch.empty(n), scores.clone()

    def step(variant: str) -> None:
        """A step of a search, for the variant that remembers the last: a threshold moves by 3e-5 to 5e-4 of itself."""
        moving = scores if variant == OURS else others  # as much memory is touched before all of them
        moving.mul_(1 + 2e-4 * float(torch.randn((), generator=generator)))

    def naive() -> torch.Tensor:
        """What the authors' code does: sort, write zeros and ones at the indices, multiply."""
        ranks = scores.abs()
        _, order = ranks.flatten().sort()
        chosen = ranks.clone()
        flat = chosen.flatten()
        flat[order[: n // 2]] = 0
        flat[order[n // 2 :]] = 1
        return weights * flat

    def pruned() -> torch.Tensor:
        """torch's own pruning, by magnitude of the scores."""
        layer = nn.Module()
        layer.weight = nn.Parameter(weights, requires_grad=False)
        prune.l1_unstructured(layer, "weight", amount=n // 2, importance_scores=scores)
        return layer.weight

    def chosen() -> torch.Tensor:
        return keep_top([weights], [scores], 0.5, False, ["w"])[0]

    def chosen_cold() -> torch.Tensor:
        with mock.patch.dict(kernels._hints, clear=True):
            return chosen()

    def chosen_plainly() -> torch.Tensor:
        with without_kernels():
            return chosen()

    assert torch.equal(chosen(), chosen_plainly())
    taken = take_turns(
        {
            SORT: lambda: torch.sort(scores),
            "sort-based mask and multiply": naive,
            "torch.nn.utils.prune": pruned,
            "torch.kthvalue alone": lambda: scores.kthvalue(n // 2),
            "torch.topk alone": lambda: torch.topk(scores, n // 2, sorted=False),
            "untrained, no compiler: choice and multiply": chosen_plainly,
            "untrained, first time: choice and multiply": chosen_cold,
            OURS: chosen,
            PRODUCT: lambda: torch.mul(weights, mask, out=out),
            "weights * mask, into fresh memory as ours": lambda: weights * mask,
            "floor: moving 12 bytes a weight": moving(12 * n),
        },
        rounds=21,
        between=step,
    )
    title = f"choice of half of n = {n:,}"
    return {f"{title}, × torch.sort": ratios(taken, SORT), f"{title}, × torch.mul": ratios(taken, PRODUCT)}


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
    measured = {}
    for n in (10_000, 100_000, 1_000_000, 2_400_000):
        measured |= tables(n)
    report("choice", {**measured, "weights from a seed": drawing()})
