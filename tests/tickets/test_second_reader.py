"""A second reader, written from docs/format.md and nothing else, reads what is saved, bit for bit."""

import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

import untrained as ut
from hostile import masked
from round_trip import assert_loads, masked_mlp, raw, spelled
from second_reader import read_ticket
from untrained.methods import METHODS

GOLDEN = Path(__file__).parents[1] / "golden.ticket"
MANY_METHODS = [
    ut.EdgePopup(0.3),
    ut.EdgePopup(0.5, "global"),
    ut.EdgePopup(0.05, signed=True),
    ut.EdgePopup(1.0),
    ut.RandomSubnetwork(0.3),
    ut.Dense(),
    ut.EdgePopup(0.5, structure=ut.NofM(1, 2)),
    ut.GemMiner(0.3),
    ut.FedPM(),
    ut.RelaxedBernoulli("concrete"),
    ut.Threshold(),
    ut.Threshold(0.3, ternary=True, start=None),
    ut.SignedSupermask(0.7),
    ut.Multicoated(0.6, coats=7),
    ut.Multicoated(1.0, coats=127, spacing="uniform"),
    ut.Bernoulli(),
    ut.Bernoulli(rescale=False),
    ut.Biprop(0.3),
    ut.Biprop(0.6, "global"),
    ut.SlotMachines(5),
    ut.SlotMachines(2, greedy=False),
    ut.IteRand(0.4, period=1, rate=0.5),
    ut.Nudge(),
    ut.Nudge(0.3, 63),
    ut.Nudge(1.0, 3, "zero"),
    ut.PartlyFrozen(ut.EdgePopup(0.4), pruned=0.3, locked=0.2),
    ut.PartlyFrozen(ut.Biprop(0.4), pruned=0.0, locked=0.3),
    ut.PartlyFrozen(ut.Bernoulli(), pruned=0.5),
    ut.PartlyFrozen(ut.Multicoated(0.7), pruned=0.2, locked=0.1),
    ut.PartlyFrozen(ut.EdgePopup(0.3, "global", True)),
    ut.PartlyFrozen(ut.EdgePopup(0.3, "normalised")),
    ut.PartlyFrozen(ut.Multicoated(0.3, spacing="uniform")),
    ut.PartlyFrozen(ut.Threshold(0.1, True)),
    ut.PartlyFrozen(ut.RelaxedBernoulli()),
    ut.PartlyFrozen(ut.RandomSubnetwork(0.3)),
    ut.PartlyFrozen(ut.Dense()),
]
LAWS = [ut.KaimingNormal(scaled=True), ut.Prototype(nonlinearity="elu", length=1024)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def test_the_golden_file():
    read, codings = read_ticket(GOLDEN.read_bytes())
    assert codings == {"bits", "ans"}
    assert read == spelled(ut.load(GOLDEN))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("method", MANY_METHODS, ids=str)
def test_every_method(method, dtype, tmp_path):
    def build():
        return nn.ModuleDict({"linear": nn.Linear(20, 16), "conv": nn.Conv2d(4, 6, 3, padding=1)}).to(dtype)

    # Every method has both laws, in two precisions each.
    law = LAWS[(MANY_METHODS.index(method) + DTYPES.index(dtype)) % 2]
    model = ut.mask_(build(), method, seed=2**33 + 5, weights=law)
    torch.manual_seed(0)
    with torch.no_grad():
        for scores in ut.scores(model):
            scores.normal_()
    for step in range(3) if isinstance(method, ut.IteRand) else ():
        ut.advance_(model, step + 1, 10)
    codes = ut.Ticket.of(model).codes
    assert_loads(model, tmp_path / "a.ticket", build())
    loaded = ut.Ticket.load(tmp_path / "a.ticket")
    assert loaded.method == method.at(1.0)
    assert {n: c.tolist() for n, c in loaded.codes.items()} == {n: c.tolist() for n, c in codes.items()}


@pytest.mark.parametrize("name", METHODS)
def test_a_ticket_names_the_method_as_it_ends(name, tmp_path):
    ticket = ut.Ticket.of(masked(METHODS[name]().keeping(0.3)))
    ticket.save(tmp_path / "a.ticket")
    assert ut.Ticket.load(tmp_path / "a.ticket").method == ticket.method == METHODS[name]().keeping(0.3).at(1.0)


MANY_CODES = {
    ut.EdgePopup(0.3): (-2, 2),
    ut.Threshold(ternary=True): (-128, 127),
    ut.Multicoated(0.5, coats=127): (0, 127),
    ut.Bernoulli(): (-2, 2),
    ut.Biprop(0.3): (-2, 2),
    ut.SlotMachines(127): (1, 127),
    ut.IteRand(0.3): (-128, 127),
    ut.Nudge(0.7, 63): (-128, 127),
    ut.Nudge(0.1, 63, "zero"): (-128, 127),
}


@pytest.mark.parametrize(("method", "ends"), MANY_CODES.items(), ids=str)
def test_codes_of_many_values(method, ends):
    first, last = ends
    ticket = ut.Ticket.of(masked_mlp(method, weights=ut.KaimingUniform()))
    every = first + torch.arange(256) * 37 % (last - first + 1)
    codes = {"0.weight": every[:128].reshape(16, 8), "3.weight": every[128:].reshape(8, 16)}
    codes = {name: tensor.to(torch.int8) for name, tensor in codes.items()}
    changed = ut.Ticket(**{**vars(ticket), "codes": {**ticket.codes, **codes}})
    hashed = dict(changed.rebuilt())
    digest = hashlib.sha256(b"".join(f"\n{name}\n".encode() + raw(tensor) for name, tensor in sorted(hashed.items())))
    sums = {"weights_sha256": digest.hexdigest(), "sample_sha256": digest.hexdigest()}  # all below 257 elements
    read, _ = read_ticket(ut.Ticket(**{**vars(changed), **sums}).to_bytes())
    assert {name: read[name][2] for name in hashed} == {name: raw(tensor) for name, tensor in hashed.items()}
