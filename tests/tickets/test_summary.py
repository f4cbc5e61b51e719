"""What a ticket keeps and costs, counted again one weight at a time."""

import math
import struct
from dataclasses import replace

import pytest
import torch
from torch import nn

import untrained as ut
from untrained.tickets.narrow import narrowed
from zoo import ZOO


def masked(case="conv", method=None, **options):
    return ut.mask_(ZOO[case].build(), method or ut.EdgePopup(0.3), seed=1, **options)


def with_codes(model, name, change):
    """The model's ticket with one tensor's codes changed."""
    ticket = ut.Ticket.of(model)
    code = ticket.codes[name].clone()
    change(code)
    return ut.Ticket(**{**vars(ticket), "codes": {**ticket.codes, name: code}})


def naive_entropy(codes):
    n = len(codes)
    return -sum(codes.count(c) / n * math.log2(codes.count(c) / n) for c in set(codes))


@pytest.mark.parametrize("case", ZOO)
@pytest.mark.parametrize("method", [ut.EdgePopup(0.3), ut.EdgePopup(0.05, "global"), ut.Dense()], ids=str)
def test_the_figures_are_the_naive_counts(case, method):
    model = masked(case, method)
    found, ticket = ut.summary(model), ut.Ticket.of(model)
    stored = ticket.coded()
    assert [t.name for t in found.tensors] == list(ticket.codes)
    for t in found.tensors:
        codes = ticket.codes[t.name]
        flat = codes.flatten().tolist()
        assert t.shape == tuple(codes.shape)
        assert t.weights == len(flat)
        assert t.kept == len(flat) - flat.count(0)
        assert t.dead_units == sum(all(c == 0 for c in unit.flatten().tolist()) for unit in codes)
        assert t.entropy_bits == pytest.approx(naive_entropy(flat), abs=1e-12)
        assert t.stored_bytes == len(stored[t.name])
    assert found.weights == sum(p.numel() for p in ZOO[case].build().parameters() if p.ndim >= 2)
    assert found.kept == sum(t.kept for t in found.tensors)
    assert found.whole_weights == 0
    assert found.extra_bytes == sum(narrowed(t).nbytes for t in ticket.extra.values())
    assert found.file_bytes == len(ticket.to_bytes())
    assert found.fp32_bytes == 4 * (found.weights + sum(t.numel() for t in ticket.extra.values()))
    bits = sum(naive_entropy(c.flatten().tolist()) * c.numel() for c in ticket.codes.values())
    assert found.entropy_bytes == pytest.approx(bits / 8, abs=1)
    assert found.bits_per_weight == pytest.approx(8 * found.file_bytes / found.weights)


def test_units_without_a_kept_weight_are_dead():
    def change(code):
        code.fill_(1)
        code[[0, 3, 7]] = 0
        code[5] = 0
        code[5, -1, -1, -1] = -1  # one weight keeps its unit alive, whatever its code

    first, second = ut.summary(with_codes(masked(), "0.weight", change)).tensors
    assert (first.dead_units, first.kept) == (4 - 1, 4 * 27 + 1)
    assert second.dead_units == 0


def test_all_units_may_be_dead():
    found = ut.summary(with_codes(masked(), "0.weight", torch.Tensor.zero_)).tensors[0]
    assert (found.dead_units, found.kept, found.entropy_bits, found.stored_bytes) == (8, 0, 0.0, 2)  # one value, 0


def test_whole_weights_count_as_kept_and_cost_nothing():
    found, all_masked = ut.summary(masked(where="0.weight")), ut.summary(masked())
    assert [t.name for t in found.tensors] == ["0.weight"]
    assert found.whole_weights == 4 * 8 * 9
    assert found.weights == all_masked.weights == 8 * 27 + 4 * 8 * 9
    assert found.kept == found.tensors[0].kept + 4 * 8 * 9
    assert found.entropy_bytes == math.ceil(found.tensors[0].entropy_bits * 8 * 27 / 8)


def test_extra_bytes_are_those_of_what_was_trained():
    without, trained = ut.summary(masked("mlp")), ut.summary(masked("mlp", also_train=r"0\.bias"))
    assert (without.extra_bytes, trained.extra_bytes) == (0, 16 * 4)
    assert ut.summary(masked()).extra_bytes == 8 * 1 * 2 + 1  # running mean, running variance, batches seen
    plain = replace(ut.Ticket.of(masked()), format=1)
    assert ut.summary(plain).extra_bytes == 8 * 4 * 2 + 8


def test_a_model_its_ticket_and_its_file_cost_the_same(tmp_path):
    model, path = masked(), tmp_path / "a.ticket"
    ut.save(model, path)
    assert ut.summary(model) == ut.summary(ut.Ticket.of(model)) == ut.summary(path) == ut.summary(str(path))
    assert ut.summary(path).file_bytes == path.stat().st_size


def test_the_order_of_the_tensors_is_the_same_after_the_file(tmp_path):
    # fc10 is after fc9, and not after fc1.
    model = ut.mask_(ut.models.fc((4,) * 10, shape=(4,)), ut.EdgePopup(0.5))
    ut.save(model, tmp_path / "a.ticket")
    rows = [[t.name for t in ut.summary(found).tensors] for found in (model, tmp_path / "a.ticket")]
    assert rows[0] == rows[1]


def test_entropy_coding_beats_a_bit_a_weight():
    ticket = replace(ut.Ticket.of(ut.mask_(nn.Linear(200, 100, bias=False), ut.EdgePopup(0.05))), format=1)
    found = ut.summary(ticket)
    tensor = found.tensors[0]
    assert tensor.entropy_bits == pytest.approx(0.2864, abs=1e-4)
    assert tensor.entropy_bits <= 8 * tensor.stored_bytes / 20_000 <= tensor.entropy_bits * 1.02
    assert found.file_bytes == tensor.stored_bytes + 8 + struct.unpack("<Q", ticket.to_bytes()[:8])[0]


def test_a_model_without_elements_can_be_summed_up():
    found = ut.summary(ut.mask_(nn.ParameterDict({"none": torch.empty(3, 0)}), ut.EdgePopup(0.5)))
    assert (found.weights, found.kept, found.tensors[0].dead_units) == (0, 0, 3)
    assert "0 of 0 weights kept (0.0%)" in str(found)


@pytest.mark.parametrize("case", ZOO)
def test_it_prints_one_line_a_tensor_and_the_totals(case):
    found = ut.summary(masked(case))
    head, *lines = str(found).splitlines()
    assert head.split()[:3] == ["tensor", "shape", "kept"]
    fates = {other.became for other in found.others}
    assert len(lines) == len(found.tensors) + len(fates) + 3
    assert {line.split(":")[0] for line in lines[len(found.tensors) : -3]} == fates
    for t, line in zip(found.tensors, lines, strict=False):
        assert line.startswith(t.name) and f"{t.kept:,} ({t.kept / t.weights:.1%})" in line
        assert "×".join(map(str, t.shape)) in line and len(line) == len(head)
    assert lines[-3].startswith(f"{found.kept:,} of {found.weights:,} weights kept")
    assert lines[-2].startswith(f"{found.file_bytes:,} bytes on disk")
    assert lines[-1].startswith(f"{found.fp32_bytes:,} bytes as 32-bit floats")


def test_what_is_no_ticket_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not masked"):
        ut.summary(nn.Linear(2, 2))
    with pytest.raises(ut.TicketError, match=r"nothing\.ticket"):
        ut.summary(tmp_path / "nothing.ticket")


def test_in_a_notebook_it_is_a_table_in_which_names_are_text():
    model = nn.Sequential()
    model.add_module("<b>", nn.Linear(4, 3))
    shown = ut.summary(ut.mask_(model, ut.EdgePopup(0.5)))._repr_html_()
    assert "&lt;b&gt;.weight" in shown and "<b>" not in shown
    assert "frozen at 0: 3 values of 1 tensor (&lt;b&gt;.bias), no byte" in shown
