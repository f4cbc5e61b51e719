"""Twin of weights -α and α, trained straight through from the start.

    code = sign(w), ±1 at ±0;  W = α_row · code,  α = mean|w| of the output channel, float16
    last layer: code in -7 … 7 (4 bits), as output layers are usually spared

Source: Courbariaux et al. 2015, BinaryConnect, arXiv 1511.00363; α of Rastegari et al. 2016, XNOR-Net, arXiv
1603.05279, equation 6. Budget: the epochs of the twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from untrained.opponents.base import Coded, Opponent, code_last
from untrained.opponents.course import Weights
from untrained.opponents.quantise import fit_scale


@final
@dataclass(frozen=True)
class BinaryTwin(Opponent):
    """Binary twin."""

    @torch.no_grad()
    def coded(self, weights: Weights) -> Coded:
        found: Coded = {}
        for name, weight in weights.items():
            codes = torch.copysign(weight.new_ones(()), weight)  # torch.where takes ten times as long
            found[name] = codes, fit_scale(weight, codes, per_channel=True)
        return found | code_last(weights)
