"""Masked models in tests, the plain models that they must equal, and their gradients."""

import torch
from torch import nn

from untrained.masking.mask import mask_, scores
from untrained.methods.edge_popup import EdgePopup
from zoo import ModelCase, hand_baked, naive_masks, states

KEEP = 0.3
LAYER = EdgePopup(KEEP)


def masked_model(case, scope="layer", seed=3):
    # The model's own weights and biases: the default law has one magnitude and no bias, and could hide a mistake.
    return mask_(case.build(), EdgePopup(KEEP, scope), seed=seed, weights=None)


def together(masked):
    return next(iter(states(masked).values())).group.method.together


def naive_masks_of(case, masked):
    return naive_masks(case, masked, KEEP, together=together(masked))


def plain_of(case, masked):
    """The model with the masked model's effective weights, worked out by hand; nothing of it learns."""
    return hand_baked(case, masked, KEEP, together=together(masked)).requires_grad_(False)


def loss_of(model, x):
    return model(x).square().mean()


def gradients(model, x, forward=None):
    """The gradient of every score, of a loss on x."""
    model.zero_grad()
    loss_of(forward or model, x).backward()
    return grads_of(model)


def grads_of(model):
    return {name: state.scores.grad.clone() for name, state in states(model).items()}


def assert_near(found, expected):
    """Equal gradients but for the order in which their parts were added up."""
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-8)
    assert found.keys() == expected.keys()


def nudge(model, optimizer=torch.optim.SGD, **options):
    """One step of an optimizer that moves every score at random, far enough to change the choice."""
    generator = torch.Generator().manual_seed(7)
    for score in scores(model):
        score.grad = torch.randn(score.shape, generator=generator).to(score)
    optimizer(scores(model), lr=1.0, **options).step()
    model.zero_grad()


def evaluate(model, x):
    with torch.no_grad():
        return model(x)


def same(found, expected):
    """Whether two dicts of tensors have the same names and bits."""
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def tensors_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


class Norms(nn.Module):
    """Parameters of every sort: matrices, biases, a norm, a scale that is neither, integers, one that is missing."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.full((5,), 0.7))
        self.register_parameter("missing", None)

    def forward(self, x):
        return self.head(self.norm(self.conv(x)).mean((2, 3))) * self.scale


NORMS = ModelCase(Norms, (2, 3, 6, 6))


def used_norms():
    """Norms after some use, so that its running statistics are not those of a new model."""
    model = NORMS.build()
    model(NORMS.input())
    return model
