"""Two processes on one search: replicated (DDP) and sharded (FSDP2), over gloo on the CPU."""

import copy
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import timedelta

import pytest
import torch
import torch.multiprocessing
from torch import nn

from untrained.masking.advance import advance_
from untrained.masking.mask import mask_, masks, scores
from untrained.methods.edge_popup import EdgePopup
from untrained.methods.schedules import Linear
from zoo import ZOO, states

dist = pytest.importorskip("torch.distributed")
if not (dist.is_available() and dist.is_gloo_available()):
    pytest.skip("torch was built without distributed or without gloo", allow_module_level=True)

from torch.distributed.fsdp import fully_shard  # noqa: E402  it needs what was just looked for
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

RANKS = 2


def run(body, store, rank, *args):
    """One rank: `body(rank, *args)` inside a group that meets in a file, so that no port need be free."""
    torch.set_num_threads(1)
    limit = timedelta(seconds=30)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=RANKS, timeout=limit)
    try:
        body(rank, *args)
    finally:
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def processes():
    """Started once: to import torch takes longer than all that they do. A rank waits for the other at the store."""
    with ProcessPoolExecutor(RANKS, mp_context=torch.multiprocessing.get_context("spawn")) as pool:
        yield pool


@pytest.fixture
def on_two_ranks(processes, tmp_path):
    """Runs a function of this file on two ranks; what fails in one of them fails here."""

    def both(body, *args):
        ranks = [processes.submit(run, body, tmp_path / "store", rank, *args) for rank in range(RANKS)]
        # The rank that fails first says why; the other only that it was left alone.
        for future in as_completed(ranks):
            future.result()

    return both


def gathered(tensor):
    """The tensor of every rank."""
    parts = [torch.empty_like(tensor) for _ in range(RANKS)]
    dist.all_gather(parts, tensor.detach().contiguous())
    return parts


def step(model, optimizer, x):
    optimizer.zero_grad()
    output = model(x)
    output.square().mean().backward()
    optimizer.step()
    return output.detach()


# Replicated


def replicated(rank, scope):
    case = ZOO["mlp"]
    masked = mask_(case.build(), EdgePopup(0.3, scope), seed=3)
    alone, first = copy.deepcopy(masked), masks(masked)
    model = DistributedDataParallel(masked)
    optimizer = torch.optim.SGD(scores(masked), lr=20.0, momentum=0.9)
    alone_optimizer = torch.optim.SGD(scores(alone), lr=20.0, momentum=0.9)
    for number in range(5):
        batches = [case.input(seed=RANKS * number + r) for r in range(RANKS)]
        step(model, optimizer, batches[rank])
        step(alone, alone_optimizer, torch.cat(batches))
    for mine, whole in zip(scores(masked), scores(alone), strict=True):
        one, other = gathered(mine)
        assert torch.equal(one, other)
        # Alone the gradient is one mean over both batches: another order of the same sum.
        torch.testing.assert_close(mine, whole, rtol=1e-4, atol=1e-5)
    chosen = masks(masked)
    assert any(not torch.equal(chosen[name], first[name]) for name in chosen)
    for name, mask in chosen.items():
        one, other = gathered(mask.byte())
        assert torch.equal(one, other), name


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_ddp_keeps_one_search_on_all_ranks(on_two_ranks, scope):
    on_two_ranks(replicated, scope)


def sends_buffers_only(rank):
    masked = mask_(ZOO["conv"].build(), EdgePopup(0.3), seed=3)
    model = DistributedDataParallel(masked)
    with torch.no_grad():
        for state in states(masked).values():
            state.frozen.fill_(float(1 + rank))
        masked[1].running_mean.fill_(float(rank))
    x = ZOO["conv"].input()
    for _ in range(2):
        model(x).square().mean().backward()
    assert all(bool((state.frozen == 1 + rank).all()) for state in states(masked).values())
    # The running statistics are buffers: had nothing at all been sent, this test would have shown nothing.
    model.eval()
    masked[1].running_mean.fill_(float(rank))
    with torch.no_grad():
        model(x)
    assert not masked[1].running_mean.any()


def test_ddp_sends_no_frozen_weight_again(on_two_ranks):
    on_two_ranks(sends_buffers_only)


# Sharded


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 8))


def shard(model, per_layer):
    for layer in model:
        if per_layer and isinstance(layer, nn.Linear):
            fully_shard(layer)
    return fully_shard(model)


def sharded(rank, scope, per_layer):
    masked = mask_(network(), EdgePopup(Linear(0.5, 0.3), scope), seed=3)
    alone = copy.deepcopy(masked)
    first = masks(alone)
    shard(masked, per_layer)
    optimizer, alone_optimizer = (torch.optim.SGD(scores(m), lr=20.0) for m in (masked, alone))
    for number in range(3):
        x = torch.randn(6, 8, generator=torch.Generator().manual_seed(number))
        found, expected = step(masked, optimizer, x), step(alone, alone_optimizer, x)
        torch.testing.assert_close(found, expected)
        for model in (masked, alone):
            advance_(model, number + 1, 3)
    for mine, whole in zip(scores(masked), scores(alone), strict=True):
        # The mean over the ranks of one same gradient.
        torch.testing.assert_close(mine.full_tensor(), whole, rtol=1e-5, atol=1e-7)
    for module in (masked, *masked):
        if hasattr(module, "unshard"):
            module.unshard()
    found, expected = masks(masked), masks(alone)
    assert all(torch.equal(found[name], mask) for name, mask in expected.items())
    assert any(not torch.equal(first[name], mask) for name, mask in expected.items())


@pytest.mark.parametrize("per_layer", [True, False], ids=["per layer", "root"])
def test_fsdp2_searches_as_one_process_does(on_two_ranks, per_layer):
    on_two_ranks(sharded, "layer", per_layer)


def test_fsdp2_at_the_root_chooses_over_all_tensors(on_two_ranks):
    on_two_ranks(sharded, "global", False)


def refuses(rank):
    masked = shard(mask_(network(), EdgePopup(0.3, "global"), seed=3), per_layer=True)
    with pytest.raises(ValueError, match=r"scores of .* are sharded .* shard the root module only"):
        masked(torch.randn(6, 8))


def test_fsdp2_per_layer_refuses_a_choice_over_all_tensors(on_two_ranks):
    on_two_ranks(refuses)
