"""Kernels of a bank's masks: the bits of plain torch, and sums close to those of float64, at every level."""

import numpy as np
import pytest
import torch
from kernel_problems import KINDS, mask_problem, plainly_masked, rng, same_bits
from test_sanitizers import EDGES, LARGE

from untrained.native import bank as kernels


@pytest.fixture(autouse=True)
def _level(native, monkeypatch):
    monkeypatch.setattr(kernels, "library", lambda: native)


@pytest.mark.parametrize("kind", ["any", "special", "zeros"])
def test_a_placed_mask_is_that_of_torch_bit_for_bit(kind):
    for n in (*EDGES, LARGE):
        (mask,), weight = mask_problem(kind, n, 1)
        out, plain = torch.full((n,), 7.0), torch.full((n,), 7.0)
        kernels.place_masked(mask, weight, out)
        plainly_masked(lambda mask=mask, weight=weight, plain=plain: kernels.place_masked(mask, weight, plain))
        assert same_bits(out, plain), n


@pytest.mark.parametrize("masks", [0, 1, 2, 7])
def test_a_mixture_is_that_of_torch_bit_for_bit(masks):
    shares = torch.randn(masks, generator=rng(masks)).tolist()
    for n in (*EDGES, LARGE):
        bits, weight = mask_problem("normal", n, masks)
        mixed = kernels.mix_masks(bits, shares, weight)
        assert same_bits(mixed, plainly_masked(lambda b=bits, w=weight: kernels.mix_masks(b, shares, w))), n


@pytest.mark.parametrize("masks", [0, 1, 2, 7])
@pytest.mark.parametrize("threads", [1, 2])
def test_sums_under_masks_are_close_to_those_of_float64(masks, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for n in (*EDGES, LARGE):
            bits, values = mask_problem("normal", n, masks)
            sums = kernels.project_masks(bits, values)
            kept = [values.double()[np.unpackbits(b, count=n, bitorder="little").astype(bool)].sum() for b in bits]
            exact = torch.stack(kept) if kept else torch.zeros(0, dtype=torch.float64)
            torch.testing.assert_close(sums, exact, rtol=0, atol=1e-6 * float(values.abs().sum() + 1))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("columns", [1, 7, 8, 64, 75])
def test_sums_of_rows_are_those_of_float64_at_any_place_of_a_byte(rows, columns):
    bits, values = mask_problem("normal", rows * columns, 3)
    values = values.reshape(rows, columns)
    kept = [np.unpackbits(b, count=rows * columns, bitorder="little").reshape(rows, columns) for b in bits]
    exact = torch.stack([(values.double() * torch.from_numpy(mask)).sum(1) for mask in kept])
    torch.testing.assert_close(kernels.project_rows(bits, values), exact, rtol=0, atol=1e-6 * float(values.abs().sum()))


def test_what_a_mask_leaves_out_is_not_even_added():
    values = KINDS["normal"](40, rng(0))
    values[[3, 17, 39]] = torch.tensor([torch.nan, torch.inf, torch.nan])
    mask = np.packbits(values.isfinite().numpy(), bitorder="little")
    assert torch.isfinite(kernels.project_masks([mask], values)).all()
