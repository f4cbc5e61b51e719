"""Format 2: what is written is read again to the last bit, in fewer bytes, and the same with kernels and without."""

import hashlib
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_ticket import GOLDEN_WEIGHTS, golden_ticket
from torch import nn

import mutations
import untrained as ut
from hostile import TICKETS, masked_as
from round_trip import raw, spelled
from second_reader import read_ticket
from untrained.native import library
from untrained.tickets import coded, fitting, header
from untrained.tickets.bits import ONES, BitReader, BitWriter, level_of, levels_of, read_tree, tree_counts, write_tree
from untrained.tickets.contexts import Effects, Layout, Seeded
from untrained.tickets.narrow import narrowed, widened
from zoo import ZOO

GOLDEN = Path(__file__).parents[1] / "golden2.ticket"
GOLDEN_SHA256 = "a18c6dff6f53f75e7b4dafcaf2b97b6e3785a149a4e2190bdbfe920f62216346"
PLAIN = library.Status(None, "", "turned off")
LAWS = [ut.SignedConstant(), ut.KaimingNormal(), ut.UnsignedConstant(), ut.Prototype(length=7), None]
laws = settings(max_examples=40)


@pytest.fixture(params=["best", "plain"])
def level(request, monkeypatch):
    """With the kernels of this machine, and without any."""
    if request.param == "plain":
        monkeypatch.setattr(library, "status", lambda: PLAIN)


def plainly(run, *arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "status", lambda: PLAIN)
        return run(*arguments)


def decoded(data, seeded, free, n):
    (codes,) = coded.decode_each([coded.Job(data, seeded, free, n)])
    return (codes if isinstance(codes, torch.Tensor) else codes.codes()).numpy()


# --- streams ---


def test_frequencies_are_those_of_the_page():
    for level, ones in zip(range(-127, 128), ONES.tolist(), strict=True):
        assert ones / 2**24 == pytest.approx(1 / (1 + 2 ** (-level / 8)), rel=2e-2, abs=2**-23)
        assert 1 <= ones < 2**24 and ones + ONES[127 - level] == 2**24
    assert level_of(0, 10**9) == -127 and level_of(5, 5) == 0 and level_of(3, 0) == 22


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=20))
@laws
def test_the_level_of_counts_has_the_odds_that_are_nearest(pairs):
    for (ones, zeros), level in zip(pairs, levels_of(*np.array(pairs).T).tolist(), strict=True):
        assert level == level_of(ones, zeros)
        exact = 8 * math.log2((2 * ones + 1) / (2 * zeros + 1))
        assert abs(level - exact) <= 0.5 + 1e-9 or (abs(level) == 127 and abs(exact) >= 127 and level * exact > 0)


@given(st.lists(st.tuples(st.integers(-127, 127), st.integers(0, 40)), max_size=8), st.integers(0, 2**32))
@laws
def test_a_stream_gives_its_bits_again(runs, seed):
    draws, stream = np.random.default_rng(seed), BitWriter()
    runs = [(level, draws.integers(0, 2, n).astype(np.uint8)) for level, n in (*runs, (0, 1))]
    runs[-1] = (3, np.ones(1, np.uint8))  # a stream without any 1 has no words
    for level, bits in runs:
        stream.add(level, bits)
    data = stream.to_bytes()
    for read in (lambda f: f(), plainly):
        reader = read(lambda: BitReader(data))
        for level, bits in runs:
            assert np.array_equal(read(partial(reader.read, level, len(bits))), bits)
        reader.close()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=200), st.integers(0, 3))
@laws
def test_symbols_are_coded_by_their_tree(symbols, more):
    symbols = np.array(symbols)
    k = int(symbols.max()) + 1 + more
    counts, stream = tree_counts(np.bincount(symbols, minlength=k)), BitWriter()
    assert len(counts) == k - 1
    levels = [level_of(ones, zeros) for zeros, ones in counts]
    write_tree(stream, levels, symbols)
    stream.add(0, np.ones(1, np.uint8))
    assert np.array_equal(read_tree(BitReader(stream.to_bytes()), levels, len(symbols)), symbols)


# --- contexts ---


@pytest.mark.parametrize("n", [1, 15, 16, 625, 100_003])
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_bins_are_those_of_the_scores_that_a_search_begins_with(n, seed, level):
    model = ut.mask_(nn.Linear(n, 1, bias=False), ut.EdgePopup(1.0), seed=seed)
    scores = ut.scores(model)[0].detach().numpy().reshape(-1).astype(np.float64) * math.sqrt(n)
    seeded = Seeded(seed, "weight", (1, n), None)
    for bits in (1, 3, 8):
        both, folded = seeded.bins(bits, True), seeded.bins(bits, False)
        inside = np.abs(scores * 2**bits - np.rint(scores * 2**bits)) > 1e-3  # and not between two bins
        assert np.array_equal(both[inside], np.floor((scores + 1) * 2 ** (bits - 1))[inside])
        assert np.array_equal(folded[inside], np.floor(np.abs(scores) * 2**bits)[inside])


VALUES = [(0, 1), (1, 0), (-1, 0, 1), (-128, 3, 127, 5, 0), (7,), tuple(range(-40, 88))]
SHAPES = [(1, 2), (2, 1), (3, 40), (40, 3), (5, 4, 3, 3), (130, 70), (2, 0), (300, 5)]


def drawn_codes(seed, shape, values):
    """Codes that depend on rows, columns and chance."""
    draws, n = np.random.default_rng(seed), math.prod(shape)
    grid = draws.normal(size=(shape[0], n // max(1, shape[0])))
    grid = grid + 1.5 * draws.normal(size=(len(grid), 1)) + draws.normal(size=(1, grid.shape[1])) - draws.random() * 3
    places = np.clip(np.rint(grid), 0, len(values) - 1).astype(int)
    return np.array(values, np.int8)[places].reshape(-1)


@given(
    st.sampled_from(SHAPES), st.sampled_from(VALUES),
    st.integers(0, 2**64 - 1), st.sampled_from(LAWS), st.sampled_from([None, 0.5, 0.0]),
)  # fmt: skip
@settings(max_examples=60)
def test_codes_are_coded_and_decoded(shape, values, seed, law, share):
    codes, seeded = drawn_codes(seed, shape, values), Seeded(seed, "a.weight", shape, law)
    free = None if share is None else np.random.default_rng(seed).random(len(codes)) < share
    data = coded.encode(codes, seeded, free)
    assert data == plainly(coded.encode, codes, seeded, free)
    own = codes if free is None else codes[free]
    for read in (decoded, lambda *its: plainly(decoded, *its)):
        assert np.array_equal(read(data, seeded, free, len(own)), own)
    # Never more than bits take, beside the values and the way.
    width = max(0, len(set(own.tolist())) - 1).bit_length()
    assert len(data) <= 4 + len(values) + math.ceil(len(own) * width / 8)
    for wrong in (data[:-1], data + b"\0", b""):
        with pytest.raises(ValueError):
            decoded(wrong, seeded, free, len(own))


def test_levels_are_the_sums_of_the_page(level):
    seeded = Seeded(3, "w", (4, 6), ut.KaimingNormal())
    draws = np.random.default_rng(0)
    rows = Effects(100, True, draws.integers(-1, 2, 8).astype(np.int16))
    columns = Effects(7, False, draws.integers(-9, 9, 6).astype(np.int16))
    layout = Layout(2, False, np.array([-100, 0, 9, 90], np.int16), rows, columns)
    positive, bins = seeded.law.draw((4, 6), seed=3, name="w").numpy() > 0, seeded.bins(2, False).reshape(4, 6)
    for i, found in enumerate(layout.of_elements(seeded).tolist()):
        row, column = divmod(i, 6)
        sign = int(positive[row, column])
        total = layout.levels[bins[row, column]] + 100 * rows.numbers[2 * row + sign] + 7 * columns.numbers[column]
        assert found == min(127, max(-127, int(total))) + 127


@pytest.mark.parametrize("law", LAWS[:4], ids=repr)
@pytest.mark.parametrize("n", [1, 127, 128, 2049, 5000])
def test_known_signs_are_those_of_the_weights(law, n, level):
    weights = law.draw((n, 1), seed=2**40 + 3, name="w").numpy().reshape(-1)
    assert np.array_equal(Seeded(2**40 + 3, "w", (n, 1), law).positive, weights > 0)


@pytest.mark.parametrize("values", [(0, 1), (1, 0), (-1, 1), (-1, 0, 1)])
@pytest.mark.parametrize("bins", [0, 5])
@pytest.mark.parametrize("by_sign", [False, True])
def test_rows_are_longer_than_a_block_of_the_kernels(values, bins, by_sign):
    shape, draws = (3, 1301), np.random.default_rng(bins)
    rows, columns = (Effects(3, by_sign, draws.integers(-30, 30, n * (1 + by_sign)).astype(np.int16)) for n in shape)
    layout = Layout(bins, bins > 0, draws.integers(-90, 90, 1 << bins).astype(np.int16), rows, columns)
    seeded, codes = (
        Seeded(5, "w", shape, ut.SignedConstant()),
        draws.choice(np.array(values, np.int8), math.prod(shape)),
    )
    codes[:3000] = values[0]
    levels = layout.of_elements(seeded)
    assert np.array_equal(levels, plainly(layout.of_elements, Seeded(5, "w", shape, ut.SignedConstant())))
    data = bytes([len(values), *(np.array(values, np.int8).view(np.uint8))])
    data += coded._write_stream(codes, np.array(values, np.int8), layout, levels)
    for read in (decoded, lambda *its: plainly(decoded, *its)):
        assert np.array_equal(read(data, seeded, None, len(codes)), codes)


def test_coding_is_within_a_hundredth_of_the_entropy_that_it_claims():
    draws, shape = np.random.default_rng(0), (400, 500)
    for chance in (0.5, 0.2, 0.03):
        odds = chance / (1 - chance) * np.exp(draws.normal(size=(400, 1)) + draws.normal(size=(1, 500)))
        p = odds / (1 + odds)
        codes = (draws.random(shape) < p).astype(np.int8).reshape(-1)
        seeded = Seeded(0, "w", shape, None)
        size = len(coded.encode(codes, seeded, None))
        choices = fitting.Choices(codes.view(np.uint8), None)
        if codes.mean() > 0.5:
            choices = fitting.Choices((codes == 0).view(np.uint8), None)
        _, bits = fitting.choose_layout(choices, seeded)
        claimed = bits / 8
        assert size <= 1.01 * claimed
        true = -np.where(codes.reshape(shape) == 1, np.log2(p), np.log2(1 - p)).sum() / 8
        plain = 200_000 / 8 * -(codes.mean() * np.log2(codes.mean()) + (1 - codes.mean()) * np.log2(1 - codes.mean()))
        # Of what rows and columns tell, most is taken: what is lost is what it takes to write them down.
        assert size - true < 0.5 * (plain - true)


# --- tensors that are stored whole ---

NUMBERS = [0.0, -0.0, 1.0, 1.5, 448.0, 449.0, 2**-9, 2**-10, 65504.0, 65505.0, 1e-8, 1e30, math.inf, math.nan, 1 / 3]
OWN = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16]


@given(st.lists(st.sampled_from(NUMBERS), max_size=4), st.sampled_from(OWN[:4]))
def test_floats_are_narrowed_only_where_every_bit_comes_back(numbers, dtype):
    tensor = torch.tensor(numbers, dtype=dtype)
    narrow = narrowed(tensor)
    assert raw(widened(narrow, dtype)) == raw(tensor)
    assert narrow.dtype == dtype or narrow.itemsize < dtype.itemsize
    if set(numbers) <= {0.0, 1.0, 1.5, 448.0, 2**-9}:
        assert narrow.dtype == torch.float8_e4m3fn
    elif set(numbers) <= {0.0, 449.0, 2**-10, 65504.0} and dtype.itemsize > 2:
        assert narrow.dtype == torch.float16


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200), max_size=4))
def test_integers_are_narrowed_to_what_holds_them(numbers):
    tensor = torch.tensor(numbers, dtype=torch.int64)
    narrow = narrowed(tensor)
    assert torch.equal(widened(narrow, torch.int64), tensor)
    most = max((x if x >= 0 else -1 - x for x in numbers), default=0)
    assert narrow.itemsize == next(size for size in (1, 2, 4, 8) if most < 2 ** (8 * size - 1))


# --- files ---


@pytest.mark.parametrize("name", TICKETS)
def test_both_formats_hold_the_same_ticket(name, tmp_path, level):
    ticket = ut.Ticket.of(*masked_as(name))
    for format in (1, 2):
        ticket.save(tmp_path / f"{format}.ticket", format)
    one, two = (ut.Ticket.load(tmp_path / f"{format}.ticket") for format in (1, 2))
    assert {**vars(one), "codes": {}, "extra": {}, "format": 2} == {**vars(two), "codes": {}, "extra": {}}
    for mine, its in ((one.codes, two.codes), (one.extra, two.extra)):
        assert {n: (t.dtype, t.shape, raw(t)) for n, t in mine.items()} == {
            n: (t.dtype, t.shape, raw(t)) for n, t in its.items()
        }
    assert two.to_bytes(1) == one.to_bytes(1) == TICKETS[name]
    assert one.to_bytes(2) == two.to_bytes(2) == (tmp_path / "2.ticket").read_bytes()
    assert (tmp_path / "2.ticket").stat().st_size < 0.8 * len(TICKETS[name])


@pytest.mark.parametrize("case", ZOO)
def test_format_2_is_never_larger(case):
    for law in ("recommended", None):
        ticket = ut.Ticket.of(ut.mask_(ZOO[case].build(), ut.EdgePopup(0.3), weights=law))
        assert len(ticket.to_bytes(2)) < len(ticket.to_bytes(1))


def test_a_ticket_without_whole_hashes_stays_in_format_1():
    ticket = ut.Ticket.of(*masked_as("popup"))
    bare = ut.Ticket(**{**vars(ticket), "sample_sha256": "abc"})
    assert bare.to_bytes(2) == bare.to_bytes(1)


def test_first_scores_of_the_page():
    # MT19937 by its definition: the first words of the generator with the seed that the page gives.
    words, seed = [], int.from_bytes(hashlib.sha256(b"scores/5/w").digest()[:8], "little") >> 1
    state = [seed % 2**32]
    for i in range(1, 624):
        state.append((1812433253 * (state[-1] ^ state[-1] >> 30) + i) % 2**32)
    for i in range(700):
        if i % 624 == 0:
            for k in range(624):
                both = state[k] & 0x80000000 | state[(k + 1) % 624] & 0x7FFFFFFF
                state[k] = state[(k + 397) % 624] ^ both >> 1 ^ (0x9908B0DF if both & 1 else 0)
        y = state[i % 624]
        y ^= y >> 11
        y ^= y << 7 & 0x9D2C5680
        y ^= y << 15 & 0xEFC60000
        words.append((y ^ y >> 18) % 2**24)
    assert Seeded(5, "w", (7, 100), None).bins(8, True).tolist() == [word >> 16 for word in words]


def test_damaged_and_forged_files(tmp_path):
    fates = mutations.main(500, seed=1)
    assert "WRONG" not in fates and fates["refused"] > 400, fates


def test_the_golden_file_is_written_again(monkeypatch):
    monkeypatch.setattr(header, "__version__", "0.1.0")  # all that a new version may change
    golden = GOLDEN.read_bytes()
    again = ut.Ticket.load(GOLDEN).to_bytes()
    assert golden_ticket().to_bytes() == again
    # Another zlib may compress the header in another way: the rest is the same byte by byte.
    assert mutations.taken_apart(again) == mutations.taken_apart(golden)
    assert hashlib.sha256(golden).hexdigest() == GOLDEN_SHA256


def test_the_golden_file_loads_to_the_weights_of_the_golden_file_of_format_1():
    ut.Ticket.load(GOLDEN).verify()
    weights = b"".join(raw(tensor) for _, tensor in sorted(ut.load(GOLDEN).state_dict().items()))
    assert hashlib.sha256(weights).hexdigest() == GOLDEN_WEIGHTS
    assert read_ticket(GOLDEN.read_bytes())[0] == spelled(ut.load(GOLDEN))
