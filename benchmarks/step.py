"""A step of a search against a dense step of the same network: forward, backward, torch's fused SGD.

.venv/bin/python benchmarks/step.py                     (about four minutes)
.venv/bin/python benchmarks/step.py --only recipes      (networks with a norm, whole recipes)
"""

import argparse
import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import untrained as ut
from harness import Timing, interleave, moving, report, without_kernels
from untrained.search.epoch import make_learners
from untrained.search.recipes import find_recipes


class SortedMask(torch.autograd.Function):
    """The naive choice: sort every score in every forward."""

    @staticmethod
    def forward(ctx, ranks):
        flat = ranks.clone().flatten()
        order = ranks.flatten().sort()[1]
        dropped = flat.numel() // 2
        flat[order[:dropped]] = 0
        flat[order[dropped:]] = 1
        return flat.view_as(ranks)

    @staticmethod
    def backward(ctx, grad):
        return grad


class NaiveLayer(nn.Module):
    """A layer that sorts, as the authors' code does, for Linear and Conv2d."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.scores = nn.Parameter(torch.rand_like(layer.weight) - 0.5)

    def forward(self, x):
        weight = self.layer.weight * SortedMask.apply(self.scores.abs())
        if isinstance(self.layer, nn.Linear):
            return F.linear(x, weight)
        return F.conv2d(x, weight, None, self.layer.stride, self.layer.padding)


class Block(nn.Module):
    """A transformer block with its head: width 512, eight heads, 128 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(512, elementwise_affine=False) for _ in range(2))
        self.query_key_value, self.out = nn.Linear(512, 1536, bias=False), nn.Linear(512, 512, bias=False)
        self.up, self.down = nn.Linear(512, 2048, bias=False), nn.Linear(2048, 512, bias=False)
        self.head = nn.Linear(512, 10, bias=False)

    def forward(self, x):
        heads = self.query_key_value(self.norms[0](x)).unflatten(-1, (3, 8, 64)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        x = x + self.down(F.gelu(self.up(self.norms[1](x))))
        return self.head(x.mean(1))


def naive(model: nn.Module) -> nn.Module:
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear | nn.Conv2d):
            setattr(model, name, NaiveLayer(child))
        else:
            naive(child)
    return model


SGD = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}


def fused(parameters) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, **SGD, fused=True)


def step_of(network: nn.Module, optimizers: Sequence[torch.optim.Optimizer], x: Tensor, y: Tensor):
    network.train()

    def step() -> None:
        F.cross_entropy(network(x), y).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step


def measure_choice(model: nn.Module, shape: tuple[int, ...], batch: int, rounds: int) -> list[Timing]:
    batch_of = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))

    def masked() -> nn.Module:
        return ut.mask_(copy.deepcopy(model), ut.EdgePopup(keep=0.5))

    dense, ours, plain, sorting = copy.deepcopy(model), masked(), masked(), naive(copy.deepcopy(model))
    dense_step = step_of(dense, [fused(dense.parameters())], *batch_of)
    plain_step = step_of(plain, [ut.optim.SGD(plain, **SGD)], *batch_of)
    # Beside dense: the choice reads scores and weights and writes their product, the way back reads the weights.
    traffic = moving(16 * sum(scores.numel() for scores in ut.scores(ours)))

    def without_compiler() -> None:
        with without_kernels():
            plain_step()

    return interleave(
        {
            "dense, torch's fused SGD": dense_step,
            "edge-popup": step_of(ours, [ut.optim.SGD(ours, **SGD)], *batch_of),
            "edge-popup, no compiler": without_compiler,
            "edge-popup, naive (sorts)": step_of(
                sorting, [fused([p for p in sorting.parameters() if p.requires_grad])], *batch_of
            ),
            "floor: dense, and moving 16 bytes a weight": lambda: (dense_step(), traffic()),
        },
        reference="dense, torch's fused SGD",
        rounds=rounds,
    )


RECIPES = {
    "small": lambda model: ut.balanced(model, ut.EdgePopup(keep=0.05, signed=True), ut.Nudge(step=1.0, levels=7)),
    "nudge around zero": lambda model: ut.last(
        model, ut.Nudge(step=0.5, levels=7, around="zero"), ut.Nudge(step=0.5, levels=31)
    ),
    "nudge around the weight": lambda model: ut.Nudge(),
}


def measure_recipes(model: nn.Module, batch: int, rounds: int) -> list[Timing]:
    """Time whole recipes, with the optimizers that `fit` makes, against the twin with the same norm."""
    batch_of = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))

    def searching(recipe: str):
        network = copy.deepcopy(model)
        ut.mask_(network, RECIPES[recipe](network), weights=ut.SignedConstant())
        return step_of(network, [each for _, each in make_learners(network, find_recipes(None, network))], *batch_of)

    dense = copy.deepcopy(model)
    steps = {"dense": step_of(dense, [fused(dense.parameters())], *batch_of)}
    return interleave(steps | {name: searching(name) for name in RECIPES}, reference="dense", rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("choice", "recipes"))
    only = parser.parse_args().only
    torch.set_num_threads(1)
    if only != "recipes":
        networks = {
            "784-1024-1024-10, batch 128": (ut.models.fc((1024, 1024)), (1, 28, 28), 128, 60),
            "784-512-512-10, batch 128": (ut.models.fc((512, 512)), (1, 28, 28), 128, 60),
            "a transformer block of width 512, batch 32": (Block(), (128, 512), 32, 9),
            "Conv4, batch 128": (ut.models.conv4(), (3, 32, 32), 128, 4),
            "Conv6, batch 128": (ut.models.conv6(), (3, 32, 32), 128, 4),
            "ResNet-18 for CIFAR, batch 64": (ut.models.resnet18(), (3, 32, 32), 64, 3),
        }
        report("step", {name: measure_choice(*network) for name, network in networks.items()})
    if only != "choice":
        normed = {
            "784-512-512-10 with batch norm, batch 128": (ut.models.fc((512, 512), norm="batch"), 128, 150),
            "two convolutions with batch norm, batch 128": (ut.models.mnist_conv(norm="batch"), 128, 15),
        }
        report("step_recipes", {name: measure_recipes(*network) for name, network in normed.items()})


if __name__ == "__main__":
    main()
