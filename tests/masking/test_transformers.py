"""Masks on models that we did not write: tied heads, their own Conv1D, caches, generate, gradient checkpointing."""

import warnings

import pytest
import torch
from torch import nn

from untrained.masking.bake import baked
from untrained.masking.mask import mask_, masks, scores
from untrained.masking.roles import axes
from untrained.methods.edge_popup import EdgePopup
from zoo import ModelCase, hand_baked, states

pytest.importorskip("transformers")
with warnings.catch_warnings():
    # Importing models loads parts of torch that still use torch.jit.
    warnings.filterwarnings("ignore", r"`torch\.jit\..* is deprecated", DeprecationWarning)
    from transformers import GPT2Config, GPT2LMHeadModel, ViTConfig, ViTForImageClassification

KEEP = 0.4


def gpt2():
    config = GPT2Config(
        n_layer=2, n_head=2, n_embd=32, vocab_size=64, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0
    )
    config.bos_token_id = config.eos_token_id = config.pad_token_id = 0
    return GPT2LMHeadModel(config)


def vit():
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = ViTConfig(**sizes, image_size=16, patch_size=8, num_channels=3, num_labels=5)
    return ViTForImageClassification(config)


ZOO = {"gpt2": (ModelCase(gpt2), "input_ids"), "vit": (ModelCase(vit, (2, 3, 16, 16)), "pixel_values")}


def tokens():
    return torch.randint(1, 64, (2, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["layer", "global"])
def scope(request):
    return request.param


@pytest.fixture(params=ZOO)
def masked_case(request, scope):
    """(case, the masked model, its input by name)"""
    case, name = ZOO[request.param]
    masked = mask_(case.build(), EdgePopup(KEEP, scope), seed=3, weights=None)
    return case, masked.train(), {name: tokens() if name == "input_ids" else case.input()}


def gradients(model, batch):
    model.zero_grad()
    model(**batch).logits.square().mean().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_every_matrix_is_masked(masked_case):
    case, masked, _ = masked_case
    assert states(masked).keys() == {name for name, p in case.build().named_parameters() if axes(p.shape) >= 2}


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_is_that_of_the_effective_weights(masked_case, scope, training):
    case, masked, batch = masked_case
    masked.train(training)
    plain = hand_baked(case, masked, KEEP, together=scope == "global").requires_grad_(False)
    with torch.no_grad():
        expected = masked(**batch).logits
        assert torch.equal(expected, plain(**batch).logits)
        with baked(masked) as dense:
            assert torch.equal(dense(**batch).logits, expected)


def test_every_score_has_its_gradient(masked_case, scope):
    case, masked, batch = masked_case
    weights = gradients(hand_baked(case, masked, KEEP, together=scope == "global"), batch)
    found = gradients(masked, batch)
    assert len(found) == len(states(masked)) == len(scores(masked))
    for name, state in states(masked).items():
        grad = found[f"{name}_mask.scores"]
        torch.testing.assert_close(grad, state.scores.sign() * state.frozen * weights[name], rtol=1e-4, atol=1e-8)
        assert grad.any()


# Version 5 has another name for it, version 4 has this one only.
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
# Its forwards run again in the backward pass, after the root has left its own.
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_gradient_checkpointing_keeps_the_gradients(masked_case, use_reentrant):
    _, masked, batch = masked_case
    expected = gradients(masked, batch)
    masked.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
    if use_reentrant:
        masked.enable_input_require_grads()  # as its manual asks: nothing else before the first block may have one
    assert any(getattr(module, "gradient_checkpointing", False) for module in masked.modules())
    found = gradients(masked, batch)
    assert found.keys() == expected.keys()
    for name, grad in expected.items():
        torch.testing.assert_close(found[name], grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("sample", [False, True], ids=["greedy", "sampled"])
def test_generate_says_what_the_baked_model_says(scope, sample):
    masked = mask_(ZOO["gpt2"][0].build(), EdgePopup(KEEP, scope), seed=3, weights=None).eval()

    def generate(model):
        torch.manual_seed(5)
        return model.generate(tokens(), max_new_tokens=4, do_sample=sample)

    with torch.random.fork_rng(devices=[]), baked(masked) as dense:
        assert torch.equal(generate(masked), generate(dense))
        assert len(generate(dense).unique()) > 2


def test_the_tied_head_stays_tied(scope):
    masked = mask_(gpt2(), EdgePopup(KEEP, scope))
    assert "transformer.wte.weight" in masks(masked)
    assert "lm_head.weight" not in masks(masked)
    assert torch.equal(masked.lm_head.weight, masked.transformer.wte.weight)
    with baked(masked) as dense:
        assert dense.lm_head.weight is dense.transformer.wte.weight
        assert type(dense.lm_head) is nn.Linear


def test_a_baked_model_saves_and_loads_as_their_own(tmp_path, scope):
    masked = mask_(gpt2(), EdgePopup(KEEP, scope)).eval()
    with baked(masked) as dense, torch.no_grad():
        dense.save_pretrained(tmp_path)
        loaded = GPT2LMHeadModel.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(tokens()).logits, masked(tokens()).logits)
