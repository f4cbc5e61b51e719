"""Small models of every kind that masks must sit on, and the naive reference they are checked against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from untrained.selection.topk import keep_count


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = kind(8, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x, x)[0]


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(16, 8)
        self.head = nn.Linear(8, 16, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embedding((x[..., 0].abs() * 10).long() % 16))


class Experts(nn.Module):
    """A mixture of experts as one bare parameter with three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Parameter(torch.randn(4, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x @ expert for expert in self.up]).relu().sum(0)


class ReadsWeight(nn.Module):
    """Uses another module's weight without calling that module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.inner.weight / (1 + self.inner.weight.square().sum()), self.inner.bias)


class Checkpointed(nn.Module):
    """Recomputes two regions in the backward pass; the first layer is used in both."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.recompute, self.use_reentrant = True, False

    def _region(self, x: Tensor) -> Tensor:
        return torch.tanh(self.second(torch.tanh(self.shared(x))))

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = checkpoint(self._region, x, use_reentrant=self.use_reentrant) if self.recompute else self._region(x)
        return x


@dataclass(frozen=True)
class ModelCase:
    """A small model that masks must sit on."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3, 5, 8)
    compiles: bool = True
    """Whether torch.compile(fullgraph=True) takes the plain, dense module."""

    def build(self) -> nn.Module:
        """The plain model, always the same; no bias is 0 and no norm scale is 1, so that losing one would show."""
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            model = self.make()
            for parameter in model.parameters():
                if parameter.ndim < 2:
                    parameter.add_(torch.randn(parameter.shape), alpha=0.2)
        return model

    def input(self, seed: int = 1) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))


ZOO = {
    "mlp": ModelCase(lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.LayerNorm(16), nn.Linear(16, 8))),
    "conv": ModelCase(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3)),
        (4, 3, 8, 8),
    ),
    "normed": ModelCase(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16, affine=False), nn.ReLU(), nn.Linear(16, 8)), (5, 8)
    ),
    "grouped conv": ModelCase(lambda: nn.Conv2d(4, 8, 3, groups=2), (2, 4, 6, 6)),
    "transposed conv": ModelCase(lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5)),
    "lstm": ModelCase(lambda: Recurrent(nn.LSTM), compiles=False),
    "gru": ModelCase(lambda: Recurrent(nn.GRU), compiles=False),
    "attention": ModelCase(Attention),
    "encoder layer": ModelCase(lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)),
    "tied": ModelCase(Tied),
    "experts": ModelCase(Experts),
    "reads weight": ModelCase(ReadsWeight),
    "checkpointed": ModelCase(Checkpointed),
}


def states(masked: nn.Module, *, tied: bool = False) -> dict[str, nn.Module]:
    """The frozen values and scores by the name of the masked tensor; a tied one once, or under all its names."""
    modules = masked.named_modules(remove_duplicate=not tied)
    return {name.removesuffix("_mask"): m for name, m in modules if type(m).__name__ == "MaskState"}


def naive_mask(scores: Sequence[Tensor], keep: float, *, signed: bool = False) -> list[Tensor]:
    """The oracle of every choice: sort all ranks by (-rank, position) and keep the first."""
    ranks = [rank for s in scores for rank in (s if signed else s.abs()).detach().double().flatten().tolist()]
    order = sorted(range(len(ranks)), key=lambda i: (-ranks[i], i))
    kept = torch.zeros(len(ranks), dtype=torch.bool)
    kept[order[: keep_count(keep, len(ranks))]] = True
    return [part.view(s.shape) for part, s in zip(kept.split([s.numel() for s in scores]), scores, strict=True)]


def naive_masks(case: ModelCase, masked: nn.Module, keep: float, *, together: bool = False) -> dict[str, Tensor]:
    """The oracle's choice for a masked model, by the name of the tensor; together in the plain model's order."""
    found = states(masked)
    scores = {name: found[name].scores for name, _ in case.build().named_parameters() if name in found}
    if together:
        return dict(zip(scores, naive_mask(list(scores.values()), keep), strict=True))
    return {name: naive_mask([s], keep)[0] for name, s in scores.items()}


def hand_baked(case: ModelCase, masked: nn.Module, keep: float, *, together: bool = False) -> nn.Module:
    """The plain model with a masked model's effective weights, worked out naively; its parameters learn."""
    kept = naive_masks(case, masked, keep, together=together)
    all_names = states(masked, tied=True).items()
    effective = {name: torch.where(kept[state.name], state.frozen.detach(), 0) for name, state in all_names}
    plain = case.build().to(next(iter(effective.values())).dtype).train(masked.training)
    own = {name: tensor for name, tensor in masked.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(own | effective)
    return plain
