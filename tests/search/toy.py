"""Small data and networks of the search's tests."""

import torch
from torch import nn

import untrained as ut
from untrained.data.splits import Split

SHAPE = (1, 4, 4)


def toy_data(n=240, seed=0):
    """Return a function of Batches' arguments: four classes, told apart by which quarter of the image is bright."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    images = torch.randint(0, 120, (n, *SHAPE), generator=generator)
    for label in range(4):
        images[labels == label, :, 2 * (label // 2) : 2 * (label // 2) + 2, 2 * (label % 2) : 2 * (label % 2) + 2] += 90
    split = Split(images.to(torch.uint8), labels)
    return lambda size=40, **options: ut.Batches(split, size, mean=(0.3,), std=(0.2,), **options)


def network(dropout=0.2):
    """Return a network with dropout and running statistics, so that a resumed run has something to get wrong."""
    layers = [nn.Flatten(), nn.Linear(16, 32, bias=False), nn.BatchNorm1d(32, affine=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(32, 4, bias=False))


def masked(**options):
    return ut.mask_(network(**options), ut.EdgePopup(keep=0.5), seed=3)


class Table(nn.Module):
    """The logits that it is built with, whatever its input is."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, x):
        return self.logits[: len(x)]
