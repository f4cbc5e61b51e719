"""Twin of weights -α, 0 and α, trained straight through from the start.

    code = sign(w)·[|w| > 0.7·mean|w|]  or, with `keep`, sign(w)·top(|w|, keep) in each layer;  W = α · code
    α = mean of |w| where the code is not 0, the least squared error, float16, one for each layer as in the paper
    last layer: code in -7 … 7 (4 bits), as output layers are usually spared

Source: Li & Liu 2016, arXiv 1605.04711, equations 5 and 6 (weight networks of BitNet b1.58 differ in the threshold,
0.5·mean|w|). Budget: the epochs of the twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch.nn.functional import hardshrink

from untrained.opponents.base import Coded, Opponent, code_last
from untrained.opponents.course import Weights
from untrained.opponents.quantise import fit_scale
from untrained.selection.topk import choose_highest

_THRESHOLD = 0.7


@final
@dataclass(frozen=True)
class TernaryTwin(Opponent):
    """Ternary twin.

    Args:
        keep: fraction of the weights of each layer that is not 0; None: as many as are above the threshold.
    """

    keep: float | None = None

    @torch.no_grad()
    def coded(self, weights: Weights) -> Coded:
        found: Coded = {}
        for name, weight in weights.items():
            if self.keep is not None:
                codes = choose_highest([weight], [weight], self.keep, False, [name])[0].sign_()
            else:
                least = _THRESHOLD * float(torch.linalg.vector_norm(weight, 1)) / max(1, weight.numel())
                codes = hardshrink(weight, least).sign_()
            found[name] = codes, fit_scale(weight, codes, per_channel=False)
        return found | code_last(weights)
