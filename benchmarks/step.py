"""A step of edge-popup against a dense step of the same network: forward, backward, torch's fused SGD.

.venv/bin/python benchmarks/step.py             (about three minutes)
"""

import copy

import torch
import torch.nn.functional as F
from torch import nn

import untrained as ut
from harness import Timing, interleave, moving, report, without_kernels


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


def measure(model: nn.Module, shape: tuple[int, ...], batch: int, rounds: int) -> list[Timing]:
    x, y = torch.randn(batch, *shape), torch.randint(0, 10, (batch,))

    def step_of(network: nn.Module, optimizer: torch.optim.Optimizer):
        network.train()

        def step() -> None:
            F.cross_entropy(network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def masked() -> nn.Module:
        return ut.mask_(copy.deepcopy(model), ut.EdgePopup(keep=0.5))

    dense, ours, plain, sorting = copy.deepcopy(model), masked(), masked(), naive(copy.deepcopy(model))
    dense_step = step_of(dense, fused(dense.parameters()))
    plain_step = step_of(plain, ut.optim.SGD(plain, **SGD))
    # Beside dense: the choice reads scores and weights and writes their product, the way back reads the weights.
    traffic = moving(16 * sum(scores.numel() for scores in ut.scores(ours)))

    def without_compiler() -> None:
        with without_kernels():
            plain_step()

    return interleave(
        {
            "dense, torch's fused SGD": dense_step,
            "edge-popup": step_of(ours, ut.optim.SGD(ours, **SGD)),
            "edge-popup, no compiler": without_compiler,
            "edge-popup, naive (sorts)": step_of(sorting, fused([p for p in sorting.parameters() if p.requires_grad])),
            "floor: dense, and moving 16 bytes a weight": lambda: (dense_step(), traffic()),
        },
        reference="dense, torch's fused SGD",
        rounds=rounds,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    networks = {
        "784-1024-1024-10, batch 128": (ut.models.fc((1024, 1024)), (1, 28, 28), 128, 60),
        "784-512-512-10, batch 128": (ut.models.fc((512, 512)), (1, 28, 28), 128, 60),
        "a transformer block of width 512, batch 32": (Block(), (128, 512), 32, 9),
        "Conv4, batch 128": (ut.models.conv4(), (3, 32, 32), 128, 4),
        "Conv6, batch 128": (ut.models.conv6(), (3, 32, 32), 128, 4),
        "ResNet-18 for CIFAR, batch 64": (ut.models.resnet18(), (3, 32, 32), 64, 3),
    }
    report("step", {name: measure(*network) for name, network in networks.items()})
