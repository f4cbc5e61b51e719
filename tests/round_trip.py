"""Saving and loading in tests: the bits of a model, and a check that both readers give those of the baked one."""

import torch

import untrained as ut
from second_reader import read_ticket
from zoo import ZOO


def raw(tensor):
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def state(model):
    return {name: (tensor.dtype, tuple(tensor.shape), raw(tensor)) for name, tensor in model.state_dict().items()}


def spelled(model):
    """The state as the second reader gives it."""
    return {name: (str(d).removeprefix("torch."), shape, b) for name, (d, shape, b) in state(model).items()}


def mlp():
    return ZOO["mlp"].build()


def masked_mlp(method=None, **options):
    return ut.mask_(mlp(), method or ut.EdgePopup(0.3), seed=7, **options)


def assert_loads(masked, path, fresh, meta=None, second=True):
    """Save, load into a fresh model, and compare every bit with the baked model and a second reader of both formats.

    Returns:
        The loaded model, and the codings that the second reader met in format 1.
    """
    ut.save(masked, path, meta=meta)
    base, data, codings = spelled(fresh) if second else {}, path.read_bytes(), set()
    loaded = ut.load(path, fresh)
    expected = state(ut.bake_(masked))
    assert list(state(loaded)) == list(expected)
    assert state(loaded) == expected
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert ut.Ticket.load(path).to_bytes() == data
    if second:
        read, _ = read_ticket(data, base)
        of_format_1, codings = read_ticket(ut.Ticket.load(path).to_bytes(1), base)
        assert of_format_1 == read
        assert read.items() <= spelled(loaded).items()
        own = {name for name, tensor in loaded.state_dict().items() if tensor.numel()}
        tied = {name for name, _ in loaded.named_parameters(remove_duplicate=False)}
        tied -= {name for name, _ in loaded.named_parameters()}
        assert own - read.keys() <= tied
    return loaded, codings
