"""Genomes as tuples, after the description of the algorithm: (activations of nodes, genes (source, target, on))."""

from collections import Counter, deque

import numpy as np
import pytest

from untrained.wann.evolution.genome import Population
from untrained.wann.evolution.presets import Preset

PRESET = Preset(population=1, generations=1, reps=1, tournament=1)
ACTIVATIONS = (1, 3, 5, 9)
KINDS = ("add_connection", "add_node", "enable", "disable", "change_activation")
NAMES = ("act", "src", "dst", "on", "nodes", "genes")


def first_genome(inputs, outputs, on):
    """No hidden nodes, all pairs as genes; `on` says which work."""
    act = (0,) * (inputs + 1) + (1,) * outputs
    pairs = [(s, inputs + 1 + o) for o in range(outputs) for s in range(inputs + 1)]
    return act, tuple((*pair, int(flag)) for pair, flag in zip(pairs, on, strict=True))


def layers(genome, inputs, outputs):
    """Inputs 0, hidden nodes the longest path through hidden nodes, outputs last."""
    act, genes = genome
    fixed = inputs + 1 + outputs

    def depth(node):
        return 1 + max((depth(s) for s, d, _ in genes if d == node and s >= fixed), default=0)

    hidden = {node: depth(node) for node in range(fixed, len(act))}
    last = 1 + max(hidden.values(), default=0)
    return {**dict.fromkeys(range(inputs + 1), 0), **dict.fromkeys(range(inputs + 1, fixed), last), **hidden}


def outcomes(genome, inputs, outputs, kind, activations=ACTIVATIONS):
    """Every child that a mutation may give, and its probability."""
    act, genes = genome
    fixed, children = inputs + 1 + outputs, Counter()

    def switched(number, on):
        return (*genes[:number], (*genes[number][:2], on), *genes[number + 1 :])

    if kind == "add_connection":
        layer, taken = layers(genome, inputs, outputs), {gene[:2] for gene in genes}
        open_targets = {s: [d for d in layer if layer[d] > layer[s] and (s, d) not in taken] for s in layer}
        open_targets = {s: targets for s, targets in open_targets.items() if targets}
        for source, targets in open_targets.items():
            for target in targets:
                children[act, (*genes, (source, target, 1))] += 1 / len(open_targets) / len(targets)
    elif kind == "add_node":
        enabled = [number for number, gene in enumerate(genes) if gene[2]]
        for number in enabled:
            source, target, _ = genes[number]
            new = (source, len(act), 1), (len(act), target, 1)
            for activation in activations:
                child = (*act, activation), (*switched(number, 0), *new)
                children[child] += 1 / len(enabled) / len(activations)
    elif kind == "enable":
        disabled = [number for number, gene in enumerate(genes) if not gene[2]]
        for number in disabled:
            children[act, switched(number, 1)] += 1 / len(disabled)
    elif kind == "disable":
        enabled = [number for number, gene in enumerate(genes) if gene[2]]
        for number in enabled if len(enabled) > 1 else ():
            children[act, switched(number, 0)] += 1 / len(enabled)
    else:
        hidden = range(fixed, len(act))
        for node in hidden:
            others = [activation for activation in activations if activation != act[node]]
            for activation in others:
                children[(*act[:node], activation, *act[node + 1 :]), genes] += 1 / len(hidden) / len(others)
    return children or Counter({genome: 1.0})


def grown(inputs, outputs, seed, steps, activations=ACTIVATIONS, on=0.5, kinds=KINDS):
    """A genome after so many random mutations."""
    rng = np.random.default_rng(seed)
    genome = first_genome(inputs, outputs, rng.random((inputs + 1) * outputs) < on)
    for _ in range(steps):
        possible = list(outcomes(genome, inputs, outputs, rng.choice(kinds), activations))
        genome = possible[rng.integers(len(possible))]
    return genome


def population_of(genomes, inputs, outputs, spare=4):
    """The arrays of such genomes, `spare` wider than the longest."""
    count = len(genomes)
    nodes, genes = [len(act) for act, _ in genomes], [len(own) for _, own in genomes]
    act = np.zeros((count, max(nodes) + spare), np.int8)
    src, dst = (np.zeros((count, max(genes) + spare), np.int32) for _ in range(2))
    on = np.zeros(src.shape, np.uint8)
    for p, (own, listed) in enumerate(genomes):
        act[p, : len(own)] = own
        src[p, : len(listed)], dst[p, : len(listed)], on[p, : len(listed)] = np.array(listed).reshape(-1, 3).T
    return Population(inputs, outputs, act, src, dst, on, np.array(nodes, np.int32), np.array(genes, np.int32))


def genomes_of(population):
    """Back again; what lies behind a genome's own length must be 0."""
    found = []
    for p in range(len(population)):
        n, m = population.nodes[p], population.genes[p]
        assert not population.act[p, n:].any()
        assert not any(array[p, m:].any() for array in (population.src, population.dst, population.on))
        columns = (array[p, :m].tolist() for array in (population.src, population.dst, population.on))
        found.append((tuple(population.act[p, :n].tolist()), tuple(zip(*columns, strict=True))))
    return found


def bred(genome, inputs, outputs, count, seed=0, preset=PRESET, activations=ACTIVATIONS):
    """So many children of one genome."""
    parents, draws = np.zeros(count, np.int64), np.random.default_rng(seed).random((count, 4))
    population = population_of([genome], inputs, outputs)
    return population.children(parents, np.ones(count, bool), draws, preset, np.array(activations, np.int8))


def only(kind):
    return Preset(population=1, generations=1, reps=1, tournament=1, **{name: float(name == kind) for name in KINDS})


def assert_distributed(found, expected):
    """Only what may happen happened, and as often as it should: a chi-square test at 1e-4, seeds are fixed."""
    chisquare = pytest.importorskip("scipy.stats").chisquare
    counts, total = Counter(found), len(found)
    assert not counts.keys() - expected.keys(), "an impossible child"
    assert sum(expected.values()) == pytest.approx(1)
    if len(expected) > 1:
        keys = list(expected)
        assert min(expected.values()) * total >= 5, "the test needs more children"
        seen, chance = [counts[key] for key in keys], np.array([expected[key] for key in keys])
        assert chisquare(seen, chance / chance.sum() * total).pvalue > 1e-4


def assert_sound(genome, inputs, outputs):
    """Feed-forward, no gene twice, none into an input or out of an output; every input-output pair has a gene."""
    act, genes = genome
    fixed, pairs = inputs + 1 + outputs, {gene[:2] for gene in genes}
    assert len(pairs) == len(genes)
    assert {(s, d) for s in range(inputs + 1) for d in range(inputs + 1, fixed)} <= pairs
    waits = Counter(d for _, d in pairs)
    ready, done = deque(n for n in range(len(act)) if not waits[n]), 0
    while ready:
        node, done = ready.popleft(), done + 1
        for s, d in pairs:
            if s == node:
                waits[d] -= 1
                if not waits[d]:
                    ready.append(d)
    assert done == len(act), "a cycle"
    for s, d in pairs:
        assert d > inputs
        assert d < len(act)
        assert not inputs < s < fixed, "out of an output"
    assert all(a == 0 for a in act[: inputs + 1])
    assert all(a == 1 for a in act[inputs + 1 : fixed])
