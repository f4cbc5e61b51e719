"""Trained opponents: their quantisers, files, training and resume, and hostile files."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import random

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import untrained as ut
from untrained.experiments.by_name import entrant_of, opponent_of, takes_keep
from untrained.experiments.compare import make_grid
from untrained.experiments.testbed import Workbench
from untrained.models import build
from untrained.opponents import OPPONENTS, Opponent
from untrained.opponents.compressed import Compressed, shrink_
from untrained.opponents.course import Constrained, Course, start_, weights_of
from untrained.opponents.imp_ticket import ImpTicket
from untrained.opponents.int4_twin import Int4Twin
from untrained.opponents.int8_twin import Int8Twin
from untrained.opponents.narrow_twin import NarrowTwin
from untrained.opponents.pruned_twin import PrunedTwin
from untrained.opponents.quantise import best_clipping, decode, fast_codes, fit_scale, spread
from untrained.opponents.ternary_twin import TernaryTwin
from untrained.runs.settings import CompareSettings, GridSettings
from untrained.selection.topk import keep_count
from untrained.tickets import codec, coded, container, header
from untrained.tickets.bits import BitWriter
from untrained.tickets.contexts import Layout, Seeded

ALL = [*(cls() for cls in OPPONENTS.values()), TernaryTwin(keep=0.1), PrunedTwin(0.1, bits=2), PrunedTwin(1, bits=8)]
CONSTRAINED = [one for one in ALL if not isinstance(one, NarrowTwin | Int8Twin | Int4Twin)]
NETWORKS = {
    "fc": functools.partial(build, "fc", widths=[9, 7], shape=[1, 3, 3], classes=3, norm="batch"),
    "linear": functools.partial(build, "fc", widths=[], shape=[4], classes=2),
    "conv": functools.partial(build, "mnist-conv", shape=[2, 6, 6], classes=3),
    "folded": functools.partial(build, "resnet50", width=0.02, shape=[1, 8, 8], classes=3, folded=True),
}


def network(name="fc", seed=1):
    return start_(NETWORKS[name](), seed)


def compressed(opponent, name="fc", seed=1):
    """The network of an opponent and what its file holds, without any training."""
    model = network(name, seed)
    coded = shrink_(model, opponent)
    return model, Compressed.of(model, coded, opponent, {"data": "none"})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trained.opponent"


# --- quantisers ---

floats = st.floats(-4, 4, width=32).map(lambda x: 0.0 if abs(x) < 1e-4 else x)
matrices = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(floats, min_size=n, max_size=n), min_size=1, max_size=4)
)


def _error(row, scale, levels):
    """The squared error of a row, in exact arithmetic but for numpy's float32 division."""
    total = 0.0
    for w in row:
        code = max(-levels, min(levels, float(np.round(np.float32(w) / np.float32(scale))))) if scale else 0
        total += (w - code * scale) ** 2
    return total


@settings(max_examples=20)
@given(matrices, st.sampled_from([1, 7, 127]))
def test_the_clipping_is_that_of_least_error(rows, levels):
    codes, scale = best_clipping(torch.tensor(rows), levels)
    for row, row_codes, one in zip(rows, codes.tolist(), scale.tolist(), strict=True):
        largest = max(map(abs, row))
        tried = [float(np.float16(np.float32(largest) * np.float32(r / 64 / levels))) for r in range(1, 65)]
        least = min(_error(row, each, levels) for each in [0.0, *tried])
        own = sum((w - c * one) ** 2 for w, c in zip(row, row_codes, strict=True))
        assert own <= least * (1 + 1e-4) + 1e-9
        assert all(float(code).is_integer() and abs(code) <= levels for code in row_codes)


@given(matrices, st.sampled_from([1, 3, 7]), st.integers(0, 1), st.booleans())
def test_fast_codes_and_their_scale_are_those_of_the_formulas(rows, levels, least, per_channel):
    weight = torch.tensor(rows)
    codes = fast_codes(weight, levels, per_channel=per_channel, least=least)
    scale = fit_scale(weight, codes, per_channel=per_channel)
    for given_row, row_codes, one in zip(
        rows if per_channel else [[w for row in rows for w in row]],
        codes.tolist() if per_channel else [codes.flatten().tolist()],
        scale.tolist(),
        strict=True,
    ):
        present = [abs(w) for w in given_row if w]
        step = 2 * sum(present) / math.sqrt(levels) / max(1, len(present))
        for w, code in zip(given_row, row_codes, strict=True):
            near = abs(w) / step if w else 0.0
            assert w == 0 == code or (code * w >= 0 and abs(abs(code) - min(levels, max(least, near))) <= 0.5 + 1e-4)
        square = sum(code**2 for code in row_codes)
        exact = sum(w * code for w, code in zip(given_row, row_codes, strict=True)) / square if square else 0.0
        assert one == pytest.approx(exact, rel=2e-3, abs=1e-7)


def test_empty_and_strided_weights_are_coded():
    for shape in ((3, 0), (0, 3)):
        for opponent in ALL:
            for codes, scale in opponent.coded({"w": torch.zeros(shape)}).values():
                assert codes.shape == shape
                assert len(scale) in (1, shape[0])
    weight = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    for opponent in ALL:
        last = weight.to(memory_format=torch.channels_last)
        for name, (codes, scale) in opponent.coded({"w": last, "x": last * 2}).items():
            expected, same = opponent.coded({"w": weight, "x": weight * 2})[name]
            assert torch.equal(codes, expected)
            assert torch.equal(scale, same)


# --- the file ---


@pytest.mark.parametrize("opponent", ALL, ids=repr)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_gives_the_network_back_bit_for_bit(opponent, name, path):
    model, held = compressed(opponent, name)
    path.write_bytes(held.to_bytes())
    loaded = Compressed.load(path)
    assert loaded.opponent == opponent
    assert loaded.meta == held.meta
    assert Compressed.load(path).to_bytes() == path.read_bytes()
    back = loaded.network().state_dict()
    for key, tensor in model.state_dict().items():
        if "num_batches" not in key and not (held.coded and tensor.ndim > 1):
            tensor = tensor.half().to(tensor.dtype)
        assert torch.equal(back[key], tensor), key
    x = torch.randn(3, *model.built_by["arguments"]["shape"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if held.coded:
            assert torch.equal(loaded.network()(x), model.eval()(x))


@pytest.mark.parametrize("opponent", [one for one in ALL if not isinstance(one, NarrowTwin)], ids=repr)
def test_a_file_is_as_long_as_the_entropy_of_its_codes(opponent):
    model = start_(build("fc", widths=[300], shape=[400], classes=10), 0)
    weights = weights_of(model)
    held = Compressed.of(model, coded := opponent.coded(weights), opponent, {})
    bits = 0.0
    for codes, scale in coded.values():
        _, counts = codes.unique(return_counts=True)
        bits += codes.numel() * codec.entropy(counts.tolist()) + 16 * len(scale)
    assert len(held.to_bytes()) <= 1.01 * bits / 8 + 500 + (150 if isinstance(opponent, Int8Twin) else 0)


def test_codes_of_dense_and_sparse_rows_take_less_than_their_entropy():
    draws = torch.Generator().manual_seed(0)
    model = start_(build("fc", widths=[300], shape=[400], classes=10), 0)
    weights, opponent = weights_of(model), TernaryTwin()
    with torch.no_grad():
        weights["fc1.weight"].mul_(torch.rand(300, 1, generator=draws) ** 2)
    held = Compressed.of(model, coded := opponent.coded(weights), opponent, {})
    bits = sum(
        codes.numel() * codec.entropy(codes.unique(return_counts=True)[1].tolist()) for codes, _ in coded.values()
    )
    assert len(held.to_bytes()) <= 0.85 * bits / 8


def test_statistics_are_stored_in_few_bytes():
    model = network()
    with torch.no_grad():
        model.get_buffer("fc_norm1.running_mean").copy_(torch.linspace(0, 1.1, 9))
    held = Compressed.of(model, {}, NarrowTwin(), {})
    stored = {name: container.store(tensor)[0]["stored"] for name, tensor in held.whole.items()}
    assert stored["fc_norm1.running_var"] == "float8_e4m3fn"
    assert stored["fc_norm1.running_mean"] == "float16"
    assert not any("num_batches" in name for name in held.whole)


def test_numbers_that_are_not_finite_are_refused():
    model = network()
    with torch.no_grad():
        model.get_parameter("fc1.weight")[0, 0] = math.inf
    for opponent in ALL:
        with pytest.raises(ValueError, match=r"'fc1\.weight' must be finite"):
            shrink_(model, opponent)
    for opponent in (ImpTicket(), PrunedTwin(0.5)):
        model = network()
        with torch.no_grad():
            model.get_parameter("fc1.weight")[0, 0] = 1e6
        with pytest.raises(ValueError, match=r"fc1\.weight \(scale\) must be finite in float16"):
            Compressed.of(model, shrink_(model, opponent), opponent, {})


def _rewritten(held, change):
    """The file with a changed header, other bytes of tensors and their true check."""
    data = {name: container.store(tensor)[1] for name, tensor in held.whole.items()}
    lines = {name: container.store(tensor)[0] for name, tensor in held.whole.items()}
    for name, (codes, scale) in held.coded.items():
        flat, seeded = codes.to(torch.int8).numpy().reshape(-1), Seeded(None, name, tuple(codes.shape), None)
        line, its = container.store(scale)
        lines[name], data[name] = {"scale": line}, container.codes_bytes(coded.encode(flat, seeded, None)) + its
    head = {"opponent": header.describe(held.opponent), "network": held.built_by, "meta": held.meta}
    head = json.loads(header.to_json(head | {"tensors": lines, "producer": f"untrained {ut.__version__}"}))
    change(head, data)
    return container.pack(b"trained1", b"", head, data)


def _line(name="fc1.weight", **fields):
    return lambda head, data: head["tensors"][name].update(fields)


def _scale(**fields):
    return lambda head, data: head["tensors"]["fc1.weight"]["scale"].update(fields)


def _arguments(**fields):
    return lambda head, data: head["network"]["arguments"].update(fields)


def _codes(codes, scale=b"\0\0" * 9):
    return lambda head, data: data.update({"fc1.weight": container.codes_bytes(codes) + scale})


def _seeded_codes():
    """Codes in bins of first scores, which are not there without a seed."""
    codes, seeded = np.tile(np.array([0, 1, 1], np.int8), 27), Seeded(0, "fc1.weight", (9, 9), None)
    head, (stream, levels) = bytes([2, 1, 0]), (BitWriter(), np.array([0, 1], np.int16))
    chosen = Layout(1, False, levels).of_elements(seeded)
    for level in np.unique(chosen).tolist():
        stream.add(level - 127, (codes != 1).view(np.uint8)[chosen == level])
    data = head + bytes([1, 0, 1, 0, 0]) + stream.to_bytes()
    (found,) = coded.decode_each([coded.Job(data, seeded, None, 81)])
    assert isinstance(found, codec.Bits | codec.Same) and np.array_equal(found.codes().numpy(), codes)
    return data


ATTACKS = {
    "a field more": (lambda head, data: head.update(code="import os"), "unknown fields: 'code'"),
    "no opponent": (lambda head, data: head.update(opponent={"name": "Path"}), "unknown opponent 'Path'"),
    "a wrong opponent": (lambda head, data: head["opponent"].update(bits=99), "bits must be in"),
    "no network": (lambda head, data: head.update(network=None), "it does not describe its network"),
    "an unknown network": (lambda head, data: head["network"].update(name="os.system"), "its network: .*os.system"),
    "a huge network": (_arguments(widths=[1 << 13, 1 << 14]), r"it claims [\d,]+ weights in"),
    "another network": (_arguments(widths=[9, 8]), r"fc2\.weight|fc_norm2"),
    "a network without norms": (_arguments(norm=None), "is not in the network"),
    "tensors that are none": (lambda head, data: head.update(tensors=[]), "its header has no tensors"),
    "a line that is none": (lambda head, data: head["tensors"].update({"fc1.weight": 1}), "is described by '1'"),
    "a field of a line more": (_line(coding="zip"), "unknown fields: 'coding'"),
    "a scale that is none": (_line(scale=1), "scale must be a dict"),
    "a wrong number of scales": (_scale(shape=[3]), r"its scale float16 \(3,\)"),
    "a scale too few": (_scale(shape=[1]), "."),
    "huge scales": (_scale(shape=[1 << 40]), "bytes are missing"),
    "scales of another kind": (_scale(dtype="float64"), r"its scale float64"),
    "scales that are NaN": (_codes(b"\1\1", b"\xff\x7f" * 9), "a number that is not finite"),
    "narrow scales of integers": (_scale(stored="int8"), "'fc1.weight'"),
    "a tensor left out": (lambda head, data: head["tensors"].pop("fc1.weight"), "'fc1.weight' is missing"),
    "a tensor of no network": (lambda h, data: h["tensors"].update(other=1), "'other' is not in the network"),
    "codes left out": (lambda head, data: data.pop("fc1.weight"), "."),
    "no codes": (_codes(b""), "the codes of 'fc1.weight': bytes are missing"),
    "more codes than there are": (_codes(b"\1\1\1"), "bytes are left over"),
    "bins of scores without a seed": (_codes(_seeded_codes()), "no bins of first scores without a seed"),
    "bytes after the last": (lambda head, data: data.update(other=b"\0"), "more than its tensors"),
    "codes of a statistic": (
        lambda head, data: head["tensors"].update({"fc_norm1.running_var": head["tensors"]["fc1.weight"]}),
        "'fc_norm1.running_var'",
    ),
    "statistics of another shape": (_line("fc_norm1.running_var", shape=[3]), r"float32 \(3,\) in the file"),
    "integers as statistics": (_line("fc_norm1.running_var", dtype="uint8", stored="uint8"), "is uint8"),
    "statistics that are NaN": (
        lambda head, data: data.update({"fc_norm1.running_var": b"\x7f" * 9}), "are not all finite"
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_files_are_refused_by_name(attack, path):
    _, held = compressed(PrunedTwin(0.3))
    assert _rewritten(held, lambda head, data: None) == held.to_bytes()
    change, message = ATTACKS[attack]
    path.write_bytes(_rewritten(held, change))
    with pytest.raises(ut.TicketError, match=rf"^.*trained\.opponent: .*{message}"):
        Compressed.load(path).network()


def test_damaged_files_and_tickets_are_refused(path):
    _, held = compressed(PrunedTwin(0.3))
    data, source = held.to_bytes(), random.Random(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[source.randrange(len(data))] ^= 1 << source.randrange(8)
        path.write_bytes(damaged[: source.choice([len(data), source.randrange(len(data))])])
        with pytest.raises(ut.TicketError):
            Compressed.load(path)
        # One with its check made again has other numbers, or is refused.
        rest = bytes(damaged[16:])
        path.write_bytes(data[:8] + hashlib.sha256(rest).digest()[:8] + rest)
        with contextlib.suppress(ut.TicketError):
            Compressed.load(path).network()
    path.write_bytes(data)
    with pytest.raises(ut.TicketError, match=r"a trained opponent's file, not a ticket; .*Compressed\.load reads it"):
        ut.load(path)
    ticket = ut.Ticket.of(ut.mask_(ut.models.fc((3,)), ut.EdgePopup()))
    for other in (ticket.to_bytes(1), ticket.to_bytes(2), b"", safetensors.torch.save({"a": torch.ones(1)})):
        path.write_bytes(other)
        with pytest.raises(ut.TicketError, match="not the file of a trained opponent, or one of an older version"):
            Compressed.load(path)
    with pytest.raises(ut.TicketError, match="no such file"):
        Compressed.load(path.with_name("other"))


# --- training ---


@pytest.mark.parametrize("opponent", CONSTRAINED, ids=repr)
def test_the_last_forward_pass_has_the_weights_of_the_file(opponent):
    weights = weights_of(network("conv"))
    used = opponent.constrained(weights, 1.0)
    coded = opponent.coded(weights)
    for name, (codes, scale) in coded.items():
        assert torch.equal(used[name], decode(codes, scale))
        assert torch.equal(used[name], codes * spread(scale, codes))
        assert set(codes.detach().flatten().tolist()) <= set(range(-127, 128))
        assert scale.dtype == torch.float16
        gradient = torch.autograd.grad(used[name].sum(), weights[name])[0]
        assert torch.equal(gradient, torch.ones_like(gradient))
    assert coded.keys() == weights.keys()


@settings(max_examples=30)
@given(st.floats(0.01, 1), st.integers(2, 8), st.integers(0, 9))
def test_pruned_and_ternary_twins_keep_exactly_their_fraction(keep, bits, seed):
    weights = weights_of(network("fc", seed))

    def check(codes, names):
        codes = torch.cat([codes[name][0].flatten() for name in names])
        size = torch.cat([weights[name].detach().abs().flatten() for name in names])
        assert int(codes.count_nonzero()) == keep_count(keep, codes.numel())
        assert codes.count_nonzero() == codes.numel() or size[codes == 0].max() <= size[codes != 0].min()

    check(PrunedTwin(keep, bits).coded(weights), list(weights))
    for name in list(weights)[:-1]:
        check(TernaryTwin(keep).coded(weights), [name])


def test_pruning_follows_its_schedule():
    weights = weights_of(network())
    used = [PrunedTwin(0.1).constrained(weights, t / 20).values() for t in range(21)]
    kept = [sum(int(weight.count_nonzero()) for weight in each) for each in used]
    assert kept == sorted(kept, reverse=True)
    assert (kept[0], kept[12], kept[20]) == (165, 17, 17)


def _course(folder, *, epochs=2, stop=None):
    data = ut.load_data("digits")
    train = list(data.batches("train", 64))[:4]

    class Interrupted(list):
        read = 0

        def __iter__(self):
            self.read += 1
            if self.read == stop:
                raise KeyboardInterrupt
            return super().__iter__()

    widths = lambda factor: build("fc", widths=[round(8 * factor)], shape=[1, 8, 8], norm="batch")  # noqa: E731
    return Course(widths, Interrupted(train), train[:1], epochs, 0, folder)


@pytest.mark.parametrize("opponent", [PrunedTwin(0.3, retrain=True), ImpTicket(0.3, 2), TernaryTwin()], ids=repr)
def test_an_interrupted_training_resumes_to_the_same_bits(opponent, tmp_path):
    whole, _ = opponent.train(_course(tmp_path / "whole"))
    for stop in range(1, opponent.passes(2) + 1):
        with pytest.raises(KeyboardInterrupt):
            opponent.train(_course(tmp_path / f"{stop}", stop=stop))
        resumed, _ = opponent.train(_course(tmp_path / f"{stop}"))
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_winning_ticket_is_rewound_to_its_first_weights_and_keeps_its_mask(tmp_path):
    course = _course(tmp_path)
    network, _ = ImpTicket(0.2, 2).train(course)
    kept = sum(int(weight.count_nonzero()) for weight in weights_of(network).values())
    assert kept == keep_count(0.2, 64 * 8 + 8 * 10)
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_dir()) == ["round0", "round1"]
    saved = torch.load(tmp_path / "round1" / "checkpoint.pt")["model"]
    pruned = saved["network.fc1.weight"] == 0
    assert int(pruned.sum()) > 0
    assert not torch.equal(saved["network.fc1.weight"], course.network().get_parameter("fc1.weight"))


def test_steps_are_counted_while_training_alone():
    seen = []

    def constrain(weights, done):
        seen.append(done)
        return weights

    model = Constrained(network(), constrain, 2)
    x = torch.randn(4, 1, 3, 3)
    for training in (True, False, True, True, False):
        model.train(training)(x)
    assert seen == [0, 0.5, 0.5, 1, 1]


def test_tied_weights_are_constrained_in_every_place():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, x):
            return self.out(self.embed(x))

    model = Tied()
    constrained = Constrained(model, lambda weights, done: {n: 2 * w for n, w in weights.items()}, 1)
    x = torch.tensor([[1, 2]])
    assert torch.allclose(constrained(x), 4 * model(x))
    folded, one = network("folded"), torch.ones(2, 1, 8, 8)
    again = Constrained(network("folded"), lambda weights, done: {n: 2 * w for n, w in weights.items()}, 1)
    with torch.no_grad():
        for weight in weights_of(folded).values():
            weight.mul_(2)
    for _ in range(2):
        assert torch.equal(again.train()(one), folded.train()(one))
    assert folded.state_dict().keys() == again.network.state_dict().keys()
    with pytest.raises(ValueError, match="no weight matrix"):
        weights_of(nn.LayerNorm(3))


# --- names ---


def test_opponents_have_names_and_fields():
    assert list(OPPONENTS) == sorted(OPPONENTS)
    assert opponent_of("edge-popup") is None
    assert opponent_of("pruned-twin(bits=3)", 0.2) == PrunedTwin(0.2, 3)
    assert opponent_of("pruned-twin(keep=0.3)", 0.2) == PrunedTwin(0.3)
    assert opponent_of("ternary-twin", 0.2) == TernaryTwin()
    assert [name for name in OPPONENTS if takes_keep(name)] == ["imp-ticket", "pruned-twin"]
    for text, message in {
        "pruned-twin(keep=0)": r"keep must be in \(0, 1\], got 0",
        "pruned-twin(bits=1)": r"bits must be in \[2, 8\], got 1",
        "ternary-twin(depth=1)": "no field 'depth'; it has keep",
        "narrow-twin(width=0)": "width must be",
        "imp-ticket(rounds=1.5)": "rounds must be of type int",
        "int16-twin": "unknown method 'int16-twin' \\(did you mean int8-twin\\?\\); known: .*int8-twin",
    }.items():
        with pytest.raises(ValueError, match=message):
            entrant_of(text)


@pytest.mark.parametrize("cls", OPPONENTS.values())
def test_opponents_are_frozen_configurations(cls):
    assert issubclass(cls, Opponent)
    assert dataclasses.is_dataclass(cls)
    assert cls() == cls()
    assert header.revive(Opponent, header.describe(cls())) == cls()
    assert cls().passes(3) % 3 == 0


def test_a_twin_of_eight_bits_is_the_trained_twin_within_its_rounding(tmp_path):
    setup = CompareSettings(widths=(8,), epochs=2, norm="batch")
    bench = Workbench(setup, ut.load_data("digits"), torch.device("cpu"), 0, quiet=True)
    twin = bench.train_twin(tmp_path / "twin", resume=False)
    row = bench.train_opponent(Int8Twin(), "int8-twin", tmp_path / "own")
    assert row.file_bytes == (tmp_path / "own" / "trained.opponent").stat().st_size
    assert abs(row.accuracy - twin.accuracy) < 0.01
    assert row.weights == twin.weights
    again = bench.train_opponent(Int8Twin(), "int8-twin", tmp_path / "own")
    assert dataclasses.replace(again, seconds=row.seconds) == row
    narrow = bench.train_opponent(NarrowTwin(0.5), "narrow-twin", tmp_path / "narrow")
    assert narrow.weights == 4 * 64 + 4 * 10


def test_a_grid_of_opponents_has_keeps_and_no_laws():
    grid = make_grid(GridSettings(methods="biprop,opponents", keep="0.1,0.2", seeds=1))
    keeps = {}
    for cell in grid:
        keeps.setdefault(cell.method, []).append(cell.keep)
    assert list(keeps) == ["trained twin", "random-subnetwork", "biprop", *OPPONENTS]
    assert {name for name in OPPONENTS if keeps[name] == [0.1, 0.2]} == {"imp-ticket", "pruned-twin"}
    both = make_grid(GridSettings(methods="all,opponents", seeds=1))
    assert len(both) == len(make_grid(GridSettings(seeds=1))) + len(OPPONENTS)


@pytest.mark.parametrize("run", [ut.compare, ut.sweep])
def test_another_width_of_a_network_without_one_is_refused_before_anything_is_written(run, tmp_path):
    with pytest.raises(ValueError, match=r"^narrow-twin: mnist-conv has no width to vary; leave it out"):
        run(methods="biprop,narrow-twin", model="mnist-conv", keep="0.1,0.2", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    texts = {
        cell.method for cell in make_grid(GridSettings(methods="opponents,narrow-twin(width=1)", model="mnist-conv"))
    }
    assert texts == {"trained twin", "random-subnetwork", "narrow-twin(width=1)", *OPPONENTS} - {"narrow-twin"}


def test_opponents_are_cells_of_comparisons_and_sweeps(tmp_path):
    small = {"widths": (8,), "epochs": 1, "seeds": 1, "jobs": 1}
    found = ut.compare(methods="pruned-twin(keep=0.5,retrain=True)", out=tmp_path / "one", **small)
    line = found.lines[-1]
    assert (line.error, line.epochs, line.kept) == ("", 2, 0.5)
    (file,) = (tmp_path / "one").rglob("trained.opponent")
    assert line.file_bytes == file.stat().st_size
    data = ut.load_data("digits")
    assert ut.evaluate(Compressed.load(file).network(), data.batches("test", 500)).accuracy == line.accuracy
    swept = ut.sweep(methods="biprop,binary-twin", weights="signed-constant,standard", out=tmp_path / "two", **small)
    assert [line.law for line in swept.lines if line.method == "binary-twin"] == [None]
    wide = ut.sweep(methods="int4-twin", width="1,2", out=tmp_path / "three", **small)
    assert [line.file_bytes for line in wide.lines if line.method == "int4-twin"] == sorted(
        {line.file_bytes for line in wide.lines if line.method == "int4-twin"}
    )
