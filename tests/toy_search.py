"""A cheap task and searches on it, for the tests of this folder and for a process without numba."""

import numpy as np

from untrained.wann.evolution.presets import Preset
from untrained.wann.evolution.search import Search
from untrained.wann.tasks.task import Task, part_seed

X = np.linspace(-1, 1, 15).reshape(5, 3)
SMALL = Preset(population=6, generations=40, reps=1, tournament=3)
ISLANDS = {"islands": 2, "migrate_every": 3, "restart_after": 17}


class Toy(Task):
    """Be large where a random direction says so; cheap, and another one for every seed.

    `change` takes and returns the rewards; attributes of the task may be given.
    """

    name, inputs, outputs = "toy", 3, 2

    def __init__(self, change=None, **attributes):
        self.calls, self.change = [], change
        vars(self).update(attributes)

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.calls.append((seed, reps, part, len(networks)))
        x = X[:, : self.inputs] + 0.3 * np.random.default_rng(part_seed(seed, part)).normal(size=self.inputs)
        rewards = np.empty((len(networks), len(weights)))
        for p in range(len(networks)):
            net = networks.net(p)
            rewards[p] = np.tanh(net(x, weights)[..., 0]).mean(1) - 0.01 * np.cos(3 * net.connections)
        return rewards if self.change is None else self.change(rewards, networks, part)

    def identity(self):
        return {"name": self.name, "inputs": self.inputs}


def search_of(task=None, preset=SMALL, **settings):
    return Search(task or Toy(), preset, **settings)


def facts_of_net(net):
    return net.act.tobytes(), net.edge_ptr.tobytes(), net.src.tobytes(), net.labels


def facts(search):
    """All that a search has found and where it is, but not how long it took."""
    state = search.state
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in search.rows]
    return {
        "population": [(array.dtype.str, array.shape, array.tobytes()) for array in state.population.arrays],
        "generation": state.generation,
        "found": [(facts_of_net(each.net), each.rewards) for each in state.front],
        "best": state.island_best.tolist(),
        "since": state.island_since.tolist(),
        "ended": state.ended,
        "front": [(facts_of_net(each.net), each.rewards) for each in search.front],
        "attempts": search.attempts,
        "rows": rows,
    }


def assert_same(one, other):
    one, other = facts(one), facts(other)
    for name in one:
        assert one[name] == other[name], name


def genomes(search, island=0):
    """The genomes of an island, without what lies behind their ends."""
    population, size = search.state.population, search.preset.population
    found = []
    for p in range(island * size, (island + 1) * size):
        n, m = population.nodes[p], population.genes[p]
        parts = population.act[p, :n], population.src[p, :m], population.dst[p, :m], population.on[p, :m]
        found.append(tuple(tuple(part.tolist()) for part in parts))
    return found
