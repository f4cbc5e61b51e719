"""Small networks run on one thread, and all others on as many as before."""

import math

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.experiments.threads import multiplications, suitable_threads


def _masked(network):
    return ut.mask_(network, ut.EdgePopup(keep=0.5))


def test_a_weight_counts_once_for_every_position():
    assert (
        multiplications(_masked(ut.models.fc((300, 100), (1, 8, 8))), torch.zeros(1, 1, 8, 8))
        == 64 * 300 + 300 * 100 + 1000
    )
    conv = _masked(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.Flatten(), nn.Linear(128, 5)))
    assert multiplications(conv, torch.zeros(1, 3, 8, 8)) == 16 * 8 * 27 + 128 * 5
    assert multiplications(_masked(nn.LSTM(4, 4)), torch.zeros(1, 2, 4)) == math.inf
    unused = nn.Sequential(nn.Linear(4, 4))
    unused.extra = nn.Identity()  # runs in the sequence
    unused.spare = nn.ModuleList([nn.Linear(4, 4)])
    unused.forward = lambda x: unused[0](x)
    assert multiplications(_masked(unused), torch.zeros(1, 4)) == math.inf


@pytest.mark.parametrize("fails", [False, True])
def test_threads_are_as_before_afterwards(fails):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    small, large = _masked(nn.Linear(8, 8)), _masked(nn.Linear(1024, 1024))
    try:
        for network, size, expected in ((small, 8, 1), (large, 1024, 2)):
            try:
                with suitable_threads(network, torch.zeros(1, size), 64):
                    assert torch.get_num_threads() == expected
                    assert not fails or 1 / 0
            except ZeroDivisionError:
                assert fails
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
