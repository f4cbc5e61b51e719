"""The Pareto front against its definition."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from untrained.wann.evolution.front import Found, pareto_front
from untrained.wann.networks.net import Net

NETS = [Net(1, 1, [1], [0, connections], [0] * connections) for connections in range(6)]
FOUND = st.builds(lambda size, reward: Found(NETS[size], (float(reward),)), st.integers(0, 5), st.integers(0, 4))


def facts(found):
    return [(each.net.connections, each.reward) for each in found]


@given(st.lists(FOUND, max_size=12))
def test_the_front_is_the_definition(found):
    every = facts(found)
    kept = {(s, r) for s, r in every if not any(t <= s and q >= r and (t, q) != (s, r) for t, q in every)}
    front = pareto_front(found)
    assert facts(front) == sorted(kept)
    assert all(each is found[every.index(fact)] for each, fact in zip(front, facts(front), strict=True))
    assert pareto_front(front) == front


def test_a_reward_is_the_mean():
    assert Found(NETS[1], (1.0, 2.0, 6.0)).reward == pytest.approx(3)
