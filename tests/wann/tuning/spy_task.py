"""A task that notes what is asked of it, and a network for it."""

import numpy as np

from untrained.wann.networks.net import Net
from untrained.wann.tasks.task import Task


class Spy(Task):
    """Reward is least squares about one best weight per connection; it notes what is asked of it."""

    name, inputs, outputs = "spy", 2, 1

    def __init__(self, best, by_chance=False):
        self.best, self.by_chance, self.asked = np.asarray(best, float), by_chance, []

    def rewards(self, networks, weights, seed, *, reps=1, part="train"):
        self.asked.append((part, seed, reps, len(networks)))
        own = [networks.net(p).weights for p in range(len(networks))]
        all_weights = [[w * (np.ones(len(self.best)) if o is None else o) for w in weights] for o in own]
        noise = np.random.default_rng(seed).normal() if self.by_chance else 0.0
        return noise - ((np.array(all_weights) - self.best) ** 2).mean(-1)

    def identity(self):
        return {}


TWO = Net(2, 1, [1], [0, 2], [1, 2])
