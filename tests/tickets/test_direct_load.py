"""The short ways by which a ticket is loaded give what the long ones give, bit for bit, with kernels and without."""

import copy
import itertools
from dataclasses import dataclass
from typing import final

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.methods.masks import decode_mask, top_codes, uniform_scores
from untrained.native import library
from untrained.native.compiler import NoCompiler
from untrained.tickets import codec, direct_load
from untrained.tickets.codec import Bits, Codes, Encoded, decode, decode_each, encode, mask_bits
from untrained.tickets.direct_load import DirectLoad
from untrained.weights import random as units
from untrained.weights.laws import Prototype
from untrained.weights.source import Source

PLAIN = library.Status(None, "", "turned off")
# Around a byte, a word, a block, sixteen blocks, and a chunk of blocks.
LENGTHS = [1, 7, 8, 9, 31, 32, 33, 127, 128, 129, 2047, 2048, 2049, 2177, (1 << 21) - 1, (1 << 21) + 129]
SEEDS = st.integers(0, 2**64 - 1)
NAMES = st.text(max_size=8)
FIRST_BLOCKS = st.one_of(st.integers(0, 300), st.integers(0, 254).map(lambda d: d << 32), st.just(2**32 - 5))
LENGTH = st.one_of(st.sampled_from(LENGTHS[:-2]), st.integers(1, 5000))
MASKS = st.sampled_from(["half", "few", "all", "none"])
# The kernels are the same for all examples.
laws = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=[*library.levels(), "plain"])
def level(request, monkeypatch):
    """Each set of instructions in turn, and none."""
    status = PLAIN
    if request.param != "plain":
        try:
            status = library.Status(library.load(request.param), request.param, "")
        except NoCompiler as why:
            pytest.skip(str(why))
    monkeypatch.setattr(library, "status", lambda: status)
    return request.param


def plainly(run, *arguments):
    """What it gives without kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "status", lambda: PLAIN)
        return run(*arguments)


def raw(array):
    return np.asarray(array).tobytes()


def state(model):
    return {name: raw(tensor.detach().contiguous()) for name, tensor in model.state_dict().items()}


def mask_of(kind, n, seed=0):
    share = {"half": 0.5, "few": 0.02, "all": 2.0, "none": -1.0}[kind]
    return torch.from_numpy((np.random.default_rng(seed).random(n) < share).astype(np.int8))


def packed(codes):
    return mask_bits({"w": codes}, "w")


def way(source, codes, out):
    """How edge-popup's codes are loaded into `out`."""
    return DirectLoad.of(source, ut.EdgePopup(0.5), {source.name: codes}, out)


def signs_of(seed, name, first_block, n, scale):
    out = np.full(n, np.nan, np.float32)
    units.signs(seed, name, first_block, out, np.float32(scale))
    return out


# --- signs ---


@given(SEEDS, NAMES, FIRST_BLOCKS, LENGTH, st.sampled_from([1.0, 0.1, -0.3, 0.0, float("inf"), 1e-45]))
@laws
def test_signs_are_the_plain_ones(level, seed, name, first_block, n, scale):
    expected = plainly(signs_of, seed, name, first_block, n, scale)
    assert raw(signs_of(seed, name, first_block, n, scale)) == raw(expected)


@given(SEEDS, NAMES, FIRST_BLOCKS, LENGTH, MASKS)
@laws
def test_masked_signs_are_the_mask_of_the_signs(level, seed, name, first_block, n, kind):
    codes, scale, out = mask_of(kind, n, seed % 1000), np.float32(0.3), np.full(n + 3, np.nan, np.float32)
    units.masked_signs(seed, name, first_block, out[:n], scale, packed(codes))
    expected = decode_mask(torch.from_numpy(plainly(signs_of, seed, name, first_block, n, 0.3)), codes).numpy()
    assert raw(out[:n]) == raw(expected)
    assert np.isnan(out[n:]).all()  # and nothing behind the end
    places = np.random.default_rng(seed % 999).integers(0, n, 40)
    assert raw(units.masked_signs_at(seed, name, first_block, places, scale, packed(codes))) == raw(expected[places])


@pytest.mark.parametrize("n", LENGTHS)
def test_any_length_and_any_number_of_threads(level, n):
    codes, drawn = mask_of("half", n), Source(5, "w", (n, 1), torch.float32, ut.SignedConstant(fan="out", scaled=True))
    expected = plainly(lambda: decode_mask(drawn.draw(), codes.reshape(n, 1)))
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            out = torch.full((n, 1), torch.nan)
            way(drawn, codes, out).write_(out)
            assert raw(out) == raw(expected)
            assert raw(drawn.draw(3)) == raw(plainly(drawn.draw, 3))
    finally:
        torch.set_num_threads(threads)
    places = torch.arange(0, n, max(1, n // 100))
    assert raw(way(drawn, codes, out).at(places)) == raw(expected.flatten()[places])


@pytest.mark.parametrize("law", [ut.SignedConstant(), ut.XavierConstant(scaled=True), ut.SignedConstant(fan="out")])
def test_a_source_of_signs_is_drawn_in_place(level, law):
    drawn = Source(2**64 - 1, "größe", (5, 7, 3, 3), torch.float32, law, 0.3)
    codes, out = mask_of("half", 315).reshape(5, 7, 3, 3), torch.full((5, 7, 3, 3), torch.nan)
    way(drawn, codes, out).write_(out)
    assert raw(out) == raw(decode_mask(drawn.draw(), codes))


@pytest.mark.parametrize(
    ("law", "dtype"),
    [(ut.KaimingNormal(), torch.float32), (Prototype(), torch.float32), (ut.UnsignedConstant(), torch.float32),
     (ut.SignedConstant(), torch.bfloat16), (ut.SignedConstant(), torch.float64), (None, torch.float32)],
)  # fmt: skip
def test_no_other_source_does(law, dtype):
    assert way(Source(0, "w", (4, 4), dtype, law), mask_of("half", 16), torch.empty(4, 4, dtype=dtype)) is None


# --- codes ---


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=9), st.floats(0.01, 0.99), st.integers(0, 99))
@laws
def test_entropy_coded_masks_are_the_plain_ones(level, lengths, share, seed):
    generator = np.random.default_rng(seed)
    masks = [torch.from_numpy((generator.random(n) < share).astype(np.int8)) for n in lengths]
    two = [mask for mask in masks if 0 < mask.sum() < len(mask)]
    encoded = [
        Encoded("ans", (0, 1), counts, codec._ans_encode(mask.numpy().view(np.uint8), counts))
        for mask in two
        for counts in [(len(mask) - int(mask.sum()), int(mask.sum()))]
    ]
    assert [raw(codes) for codes in decode_each(encoded)] == [raw(mask) for mask in two]


def outcome(encoded):
    try:
        return raw(decode(encoded))
    except ValueError as error:
        return str(error)


@given(st.binary(max_size=48), st.integers(1, 60), st.integers(1, 60), st.sampled_from(["ans", "bits"]), st.data())
@laws
def test_damaged_masks_have_the_same_fate(level, data, zeros, ones, coding, draw):
    values = draw.draw(st.sampled_from([(0, 1), (-128, 127), (-1, 1), (3, 4)]))
    encoded = Encoded(coding, values, (zeros, ones), data)
    assert outcome(encoded) == plainly(outcome, encoded)
    honest = encode(torch.tensor(values, dtype=torch.int8)[mask_of("half", 500, zeros).long()])
    assert outcome(honest) == plainly(outcome, honest)
    if data and coding == "bits":
        cut = Encoded("bits", values, (8 * len(data) - 3, 2), data)
        assert outcome(cut) == plainly(outcome, cut)


def test_the_fault_of_one_comes_at_its_turn(level):
    good = encode(mask_of("few", 3000))
    short = Encoded("ans", (0, 1), (1500, 1500), good.data)
    faulty = Encoded("ans", (0, 1), good.counts, good.data[:-1])
    for bad in (short, faulty, Encoded("zip", (0, 1), (1, 1), b"")):
        turns = decode_each([good, bad, good])
        assert isinstance(next(turns), torch.Tensor)
        with pytest.raises(ValueError):
            next(turns)


def test_masks_stay_packed_until_they_are_looked_at(level):
    mask, many = mask_of("half", 2001).reshape(3, 667), torch.arange(-3, 3, dtype=torch.int8)
    (first, second) = decode_each([encode(mask), encode(many)])
    assert isinstance(first, Bits) and not isinstance(second, Bits)
    codes = Codes({"mask": (first, (3, 667)), "many": (second, (2, 3))})
    assert list(codes) == ["mask", "many"] and len(codes) == 2 and "w" not in codes
    packed_mask = mask_bits(codes, "mask")
    assert packed_mask is first.data
    assert torch.equal(codes["mask"], mask) and torch.equal(codes["many"], many.reshape(2, 3))
    assert raw(mask_bits(codes, "mask")) == raw(packed_mask)
    assert raw(np.unpackbits(mask_bits(codes, "many"), count=6, bitorder="little")) == raw((many != 0).numpy())
    codes["mask"].zero_()  # what was looked at is a tensor like any other
    assert not codes["mask"].any() and not mask_bits(codes, "mask").any()
    with pytest.raises(KeyError):
        codes["w"]


# --- whole tickets ---


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 13, 3), nn.BatchNorm2d(13), nn.Flatten(), nn.Linear(13 * 4, 50), nn.Linear(50, 7))


@final
@dataclass(frozen=True)
class Negated(ut.Method):
    """-W where the code is not 0: no mask of a draw, whatever its law and codes."""

    def init_scores(self, weight, generator):
        return uniform_scores(weight, generator)

    def codes(self, weights, scores):
        return top_codes(scores, 0.5, together=False, signed=False)

    def decode(self, weight, codes):
        return decode_mask(-weight, codes)


METHODS = [ut.EdgePopup(0.5), ut.EdgePopup(0.3), ut.EdgePopup(1.0), ut.RandomSubnetwork(0.1),
           ut.Threshold(ternary=True), ut.Biprop(0.5), ut.GemMiner(0.5), ut.FedPM(), Negated()]  # fmt: skip


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("looked_at", [False, True])
def test_a_ticket_loads_as_it_was_saved(level, method, looked_at, tmp_path):
    masked = ut.mask_(net(), method, seed=11, weights=ut.SignedConstant(scaled=True))
    ut.save(masked, tmp_path / "a.ticket")
    ticket = ut.Ticket.load(tmp_path / "a.ticket")
    if looked_at:
        assert {name: raw(code) for name, code in ticket.codes.items()} == {
            name: raw(code) for name, code in ut.Ticket.of(masked).codes.items()
        }
    expected = state(ut.bake_(masked))
    for fresh in (net(), net().to(memory_format=torch.channels_last), net().requires_grad_(False)):
        assert state(ticket.apply_(fresh)) == expected
    assert ticket.to_bytes() == (tmp_path / "a.ticket").read_bytes()
    ticket.verify()


def test_only_masks_of_signs_in_plain_memory_are_drawn_in_place(tmp_path):
    methods = {"0.weight": ut.EdgePopup(0.5), "3.weight": Negated(), "4.weight": ut.RandomSubnetwork(0.5)}
    ut.save(ut.mask_(net(), methods, weights=ut.SignedConstant()), tmp_path / "a.ticket")
    ticket = ut.Ticket.load(tmp_path / "a.ticket")

    def going(model):
        return list(ticket._direct_loads(dict(model.named_parameters())))

    assert going(net()) == ["0.weight", "4.weight"]
    assert going(net().to(memory_format=torch.channels_last)) == ["4.weight"]
    with torch.inference_mode():
        assert going(net()) == []
    wrong = {**ticket.codes, "4.weight": ticket.codes["4.weight"][:3]}
    ticket = ut.Ticket(**{**vars(ticket), "codes": wrong})
    assert going(net()) == ["0.weight"]


def test_a_model_is_unchanged_when_the_sample_differs(level, tmp_path):
    ut.save(ut.mask_(net(), ut.EdgePopup(0.5), seed=3), tmp_path / "a.ticket")
    ticket = ut.Ticket.load(tmp_path / "a.ticket")
    other, model = ut.Ticket(**{**vars(ticket), "seed": 4}), net()
    before = state(model)
    with pytest.raises(ut.TicketError, match="sha256"):
        other.apply_(model)
    assert state(model) == before
    assert state(ticket.apply_(model)) != before


def test_the_sample_is_of_what_is_written(level, tmp_path, monkeypatch):
    # Were the arithmetic another than the saver's, the sample that is drawn first would tell.
    ut.save(ut.mask_(net(), ut.EdgePopup(0.5)), tmp_path / "a.ticket")
    model, at = net(), direct_load.masked_signs_at
    monkeypatch.setattr(direct_load, "masked_signs_at", lambda *given: -at(*given))
    before = state(model)
    with pytest.raises(ut.TicketError, match="sha256"):
        ut.load(tmp_path / "a.ticket", model)
    assert state(model) == before


def test_autograd_is_told_that_weights_were_written(tmp_path):
    ut.save(ut.mask_(net(), ut.EdgePopup(0.5)), tmp_path / "a.ticket")
    model = net()
    loss = model(torch.ones(2, 3, 4, 4, requires_grad=True)).sum()
    ut.load(tmp_path / "a.ticket", model)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_model_keeps_its_memory_and_its_ties(level, tmp_path):
    ut.save(ut.mask_(net(), ut.EdgePopup(0.5)), tmp_path / "a.ticket")
    model = net()
    before = {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()}
    view = model.get_parameter("3.weight").detach()[1:3]
    ut.load(tmp_path / "a.ticket", model)
    assert {name: (id(p), p.data_ptr()) for name, p in model.named_parameters()} == before
    assert torch.equal(view, model.get_parameter("3.weight")[1:3])


def test_a_mask_takes_no_more_memory_than_it_must(tmp_path):
    ut.save(ut.mask_(net(), ut.EdgePopup(0.5)), tmp_path / "a.ticket")
    ticket = ut.Ticket.load(tmp_path / "a.ticket")
    ticket.apply_(net())
    assert isinstance(ticket.codes, Codes)
    assert all(ticket.codes.bits(name) is not None for name in ticket.codes)
    again = copy.deepcopy(ticket)
    assert all(torch.equal(again.codes[name], ticket.codes[name]) for name in ticket.codes)
    assert all(a <= b for a, b in itertools.pairwise(ticket.codes))
