import math

import pytest

from untrained.methods.recipe import PAPER, SCORES, Recipe


def test_rates():
    by_epoch = [PAPER.rate(e, s, 7, 100) for e in range(100) for s in (0, 6)]
    expected = [0.1 * 0.5 * (1 + math.cos(math.pi * e / 100)) for e in range(100) for _ in (0, 6)]
    assert by_epoch == pytest.approx(expected)
    warm = Recipe(lr=2.0, warmup=2.0)
    assert [warm.rate(0, s, 4, 10) for s in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    rates = [warm.rate(e, s, 4, 10) for e in range(10) for s in range(4)]
    assert max(rates) == pytest.approx(2.0) and rates[-1] < 0.02 and sorted(rates[8:], reverse=True) == rates[8:]
    short = [SCORES.rate(0, s, 10, 1) for s in range(10)]
    assert max(short) == SCORES.lr and short[-1] < 0.1 * SCORES.lr  # one epoch is half warm-up, half cosine
    assert max(SCORES.rate(e, s, 10, 5) for e in range(5) for s in range(10)) == SCORES.lr


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"momentum": -1.0}, {"optimizer": "rms"}, {"cosine": "never"}])
def test_wrong_recipes_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Recipe(**wrong)
