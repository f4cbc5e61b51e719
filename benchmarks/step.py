"""A step of edge-popup against a dense step of the same network: forward, backward, torch's fused SGD.

.venv/bin/python benchmarks/step.py             (about three minutes)
.venv/bin/python benchmarks/step.py --device cuda
"""

import argparse
import copy

import torch
import torch.nn.functional as F
from torch import nn

import untrained as ut
from harness import interleave, report


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


def naive(model: nn.Module) -> nn.Module:
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear | nn.Conv2d):
            setattr(model, name, NaiveLayer(child))
        else:
            naive(child)
    return model


def step_of(model: nn.Module, x: torch.Tensor, y: torch.Tensor):
    model.train()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=0.1, momentum=0.9, weight_decay=1e-4, fused=True)

    def step() -> None:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(model: nn.Module, shape: tuple[int, ...], batch: int, rounds: int, device: str):
    model = model.to(device)
    x, y = torch.randn(batch, *shape, device=device), torch.randint(0, 10, (batch,), device=device)
    variants = {
        "dense": copy.deepcopy(model),
        "edge-popup": ut.mask_(copy.deepcopy(model), ut.EdgePopup(keep=0.5)),
        "edge-popup, naive (sorts)": naive(copy.deepcopy(model)),
    }
    steps = {name: step_of(variant, x, y) for name, variant in variants.items()}
    return interleave(steps, reference="dense", rounds=rounds, device=device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    torch.set_num_threads(1)
    few = 5 if device == "cpu" else 50
    networks = {
        "784-1024-1024-10, batch 128": (ut.models.fc((1024, 1024)), (1, 28, 28), 128, 8 * few),
        "Conv4, batch 128": (ut.models.conv4(), (3, 32, 32), 128, few),
        "Conv6, batch 128": (ut.models.conv6(), (3, 32, 32), 128, few),
        "ResNet-18 for CIFAR, batch 64": (ut.models.resnet18(), (3, 32, 32), 64, few),
    }
    tables = {name: measure(*network, device) for name, network in networks.items()}
    report("step" if device == "cpu" else f"step-{device}", tables, device)
