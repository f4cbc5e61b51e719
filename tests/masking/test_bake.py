"""Copies of masked models learn apart, and baked ones are as if they had never been masked."""

import copy
import io
import pickle

import pytest
import torch

from mask_checks import (
    KEEP,
    LAYER,
    evaluate,
    gradients,
    masked_model,
    naive_masks_of,
    nudge,
    plain_of,
    same,
    tensors_of,
)
from untrained.masking.bake import bake_, baked
from untrained.masking.mask import mask_, masks
from untrained.methods.edge_popup import EdgePopup
from zoo import ZOO, states


def copy_by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "torch.save": copy_by_torch_save,
}


@pytest.mark.parametrize("how", COPIES)
def test_copies_learn_apart(case, masked, how):
    x = case.input()
    gradients(masked, x)  # a model in use holds more than a new one
    masked.eval()
    twin = COPIES[how](masked)
    assert torch.equal(evaluate(twin, x), evaluate(masked, x))
    for learner, other in ((twin, masked), (masked, twin)):
        before = tensors_of(other)
        nudge(learner)
        assert torch.equal(evaluate(learner, x), evaluate(plain_of(case, learner), x))
        assert same(tensors_of(other), before)
        assert torch.equal(evaluate(other, x), evaluate(plain_of(case, other), x))
        nudge(learner)


@pytest.mark.parametrize("how", COPIES)
def test_baking_a_copy_leaves_the_original_masked(case, masked, how):
    masked.eval()
    expected = evaluate(masked, case.input())
    bake_(COPIES[how](masked))
    assert same(masks(masked), naive_masks_of(case, masked))
    assert torch.equal(evaluate(masked, case.input()), expected)
    gradients(masked, case.input())


def test_a_state_dict_restores_another_model(case, masked, scope):
    masked(case.input())
    other = mask_(case.build(), EdgePopup(KEEP, scope), seed=9)
    other.load_state_dict(masked.state_dict())
    assert same(masks(other), masks(masked))
    assert torch.equal(evaluate(other.eval(), case.input()), evaluate(masked.eval(), case.input()))


# Baking


def ties(model):
    """For each name of a parameter, the first name of that same parameter."""
    first = {}
    return {name: first.setdefault(id(p), name) for name, p in model.named_parameters(remove_duplicate=False)}


def assert_plain(found, like):
    """A model is as if we had never touched it, its values aside."""
    assert [type(m) for m in found.modules()] == [type(m) for m in like.modules()]
    assert [vars(m).keys() for m in found.modules()] == [vars(m).keys() for m in like.modules()]
    assert list(found.state_dict()) == list(like.state_dict())
    assert ties(found) == ties(like)
    assert not any(p.requires_grad for p in found.parameters())
    for module in found.modules():
        hooks = [value for name, value in vars(module).items() if "hook" in name and isinstance(value, dict)]
        assert hooks
        assert not any(hooks)
    assert b"untrained" not in pickle.dumps(found)


def test_baked_is_a_plain_copy(case, masked):
    masked.eval()
    x, before = case.input(), tensors_of(masked)
    gradients(masked, x)
    with baked(masked) as plain:
        assert_plain(plain, case.build())
        assert same(plain.state_dict(), plain_of(case, masked).state_dict())
        assert torch.equal(evaluate(plain, x), evaluate(masked, x))
        memory = {t.data_ptr() for t in plain.state_dict().values()}
        assert memory.isdisjoint(t.data_ptr() for t in masked.state_dict().values())
    assert same(tensors_of(masked), before)
    assert gradients(masked, x).keys() == states(masked).keys()


def test_bake_leaves_nothing_of_ours(case, masked):
    masked.eval()
    x = case.input()
    gradients(masked, x)
    expected, values = evaluate(masked, x), plain_of(case, masked).state_dict()
    assert bake_(masked) is masked
    assert_plain(masked, case.build())
    assert same(masked.state_dict(), values)
    assert torch.equal(evaluate(masked, x), expected)
    assert mask_(masked, LAYER) is masked  # and may be masked again


def test_bake_leaves_other_peoples_hooks():
    masked, calls = masked_model(ZOO["mlp"]), []
    masked.register_forward_pre_hook(lambda *_: calls.append("before"))
    masked.register_forward_hook(lambda *_: calls.append("after"), always_call=True)
    bake_(masked)(ZOO["mlp"].input())
    assert calls == ["before", "after"]
    assert len(masked._forward_hooks_always_called) == 1


# Torch's own words about an RNN, masked or not: it looks for its list of weights among the buffers.
@pytest.mark.filterwarnings("ignore:The tensor attributes self.rnn._flat_weights:UserWarning")
def test_a_baked_model_can_be_exported(case, masked):
    x = case.input()
    with baked(masked.eval()) as plain:
        exported = torch.export.export(plain, (x,)).module()
        # The exported graph has elementary kernels where the model has fused ones.
        torch.testing.assert_close(exported(x), plain(x))
