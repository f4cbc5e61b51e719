"""Genomes by laws: breeding against every possible outcome and its probability, expression against plain recursion."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from genome_reference import (
    ACTIVATIONS,
    KINDS,
    PRESET,
    assert_distributed,
    assert_sound,
    bred,
    first_genome,
    genomes_of,
    grown,
    only,
    outcomes,
    population_of,
)  # fmt: skip
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.evolution import breeding
from untrained.wann.evolution import genome as module
from untrained.wann.evolution.genome import Population
from untrained.wann.numerics.jit import plain

# ---- the first population


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (3, 2), (1, 4), (5, 1)])
def test_first_population(inputs, outputs):
    draws = np.random.default_rng(0).random((6, (inputs + 1) * outputs))
    draws[0, 0] = 0.3  # not below 0.3
    for enabled in (0.0, 0.3, 1.0):
        population = Population.first(inputs, outputs, 6, enabled, draws)
        expected = [first_genome(inputs, outputs, row < enabled) for row in draws]
        assert [(act, set(genes)) for act, genes in genomes_of(population)] == [(a, set(g)) for a, g in expected]
        kinds = [array.dtype for array in population.arrays]
        assert kinds == [np.int8, np.int32, np.int32, np.uint8, np.int32, np.int32]


# ---- mutation

CASES = {
    "nothing on": (2, 2, first_genome(2, 2, [0] * 6)),
    "all on": (2, 2, first_genome(2, 2, [1] * 6)),
    "one input and output": (1, 1, grown(1, 1, 1, 6)),
    "few": (2, 2, grown(2, 2, 2, 6)),
    "deep": (1, 1, grown(1, 1, 3, 9, kinds=("add_node",))),
    "dense": (1, 2, grown(1, 2, 4, 25, kinds=("add_connection", "add_node", "add_connection"))),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
def test_one_mutation_gives_its_children_with_their_probabilities(case, kind):
    inputs, outputs, genome = CASES[case]
    expected = outcomes(genome, inputs, outputs, kind)
    count = max(500, min(60_000, 12 * int(1 / min(expected.values()) + 1)))
    children = genomes_of(bred(genome, inputs, outputs, count, preset=only(kind)))
    assert_distributed(children, expected)


@pytest.mark.parametrize("case", ["few", "one input and output"])
@pytest.mark.parametrize("chances", [(0.2, 0.25, 0.05, 0.0, 0.5), (0, 0.1, 0.3, 0.1, 0)])
def test_exactly_one_mutation_with_chances_in_proportion(case, chances):
    inputs, outputs, genome = CASES[case]
    preset, expected = replace(PRESET, **dict(zip(KINDS, chances, strict=True))), Counter()
    for kind, chance in zip(KINDS, chances, strict=True):
        for child, probability in outcomes(genome, inputs, outputs, kind).items() if chance else ():
            expected[child] += chance / sum(chances) * probability
    assert_distributed(genomes_of(bred(genome, inputs, outputs, 15_000, seed=7, preset=preset)), expected)


def test_nothing_to_mutate_leaves_the_parent():
    nothing, everything = first_genome(2, 1, [0] * 3), first_genome(2, 1, [1] * 3)
    full = grown(1, 1, 5, 40, kinds=("add_node", *["add_connection"] * 9))
    while (more := next(iter(outcomes(full, 1, 1, "add_connection")))) != full:
        full = more
    one = grown(1, 1, 6, 8, activations=(4,))
    for genome, kind, inputs, activations in (
        (nothing, "add_node", 2, ACTIVATIONS),
        (everything, "enable", 2, ACTIVATIONS),
        (first_genome(2, 1, [0, 1, 0]), "disable", 2, ACTIVATIONS),
        (everything, "change_activation", 2, ACTIVATIONS),
        (nothing, "add_connection", 2, ACTIVATIONS),
        (full, "add_connection", 1, ACTIVATIONS),
        (one, "change_activation", 1, (4,)),
    ):
        children = bred(genome, inputs, 1, 50, preset=only(kind), activations=activations)
        assert set(genomes_of(children)) == {genome}, kind


def test_children_follow_their_parents_and_those_not_to_be_mutated_are_copies():
    genomes = [grown(2, 2, seed, 3 * seed) for seed in range(6)]
    parents = np.array([5, 0, 0, 3, 5, 2, 1, 4, 3])
    mutate = np.array([1, 0, 1, 0, 1, 1, 0, 1, 1], bool)
    draws = np.random.default_rng(3).random((9, 4))
    before = population_of(genomes, 2, 2)
    copy = [array.copy() for array in before.arrays]
    children = genomes_of(before.children(parents, mutate, draws, PRESET, np.array(ACTIVATIONS, np.int8)))
    assert all(np.array_equal(a, b) for a, b in zip(before.arrays, copy, strict=True)), "parents were changed"
    for child, parent, changed in zip(children, parents, mutate, strict=True):
        possible = set().union(*(outcomes(genomes[parent], 2, 2, kind) for kind in KINDS)) if changed else set()
        assert child in possible | {genomes[parent]}
        assert changed or child == genomes[parent]


def test_draws_at_the_edges_stay_inside():
    edges = [0.0, 0.5, np.nextafter(1, 0)]
    genome = grown(2, 2, 11, 10)
    draws = np.array([[a, b, c, 0] for a in (0.0, 0.2, 0.45, 0.5, np.nextafter(1, 0)) for b in edges for c in edges])
    possible = set().union(*(outcomes(genome, 2, 2, kind) for kind in KINDS)) | {genome}
    parents = np.zeros(len(draws), np.int64)
    population = population_of([genome], 2, 2)
    activations = np.array(ACTIVATIONS, np.int8)
    children = population.children(parents, np.ones(len(draws), bool), draws, PRESET, activations)
    assert set(genomes_of(children)) <= possible


@pytest.mark.parametrize(("inputs", "outputs", "activations"), [(1, 1, (2,)), (3, 2, ACTIVATIONS), (2, 3, (1, 2))])
def test_three_hundred_generations_stay_sound_and_only_grow(inputs, outputs, activations):
    rng, ids = np.random.default_rng(inputs), np.array(activations, np.int8)
    genes = (inputs + 1) * outputs
    population = Population.first(inputs, outputs, 5, 0.5, rng.random((5, genes)))
    widths = set()
    for generation in range(300):
        parents = rng.integers(5, size=5)
        child = population.children(parents, rng.random(5) < 0.9, rng.random((5, 4)), PRESET, ids)
        widths.add((child.act.shape[1], child.src.shape[1]))
        for c, p in enumerate(parents):
            n, m = population.nodes[p], population.genes[p]
            added = child.nodes[c] - n, child.genes[c] - m
            assert added in ((0, 0), (0, 1), (1, 2))
            changed = np.flatnonzero(child.on[c, :m] != population.on[p, :m])
            relabelled = np.flatnonzero(child.act[c, :n] != population.act[p, :n])
            assert (child.src[c, :m] == population.src[p, :m]).all()
            assert (child.dst[c, :m] == population.dst[p, :m]).all()
            assert len(relabelled) + len(changed) == (added == (1, 2)) or (added == (0, 0) and len(changed) < 2)
            assert len(relabelled) + len(changed) <= 1
            assert all(population.act[p, relabelled] > 0)
            assert (relabelled >= inputs + 1 + outputs).all()
            assert child.on[c, m : child.genes[c]].all()
            if added == (1, 2):
                (split,) = changed
                pairs = list(zip(child.src[c, m : m + 2].tolist(), child.dst[c, m : m + 2].tolist(), strict=True))
                assert pairs == [(child.src[c, split], n), (n, child.dst[c, split])]
        population = child
        if generation % 60 == 59:
            for each in genomes_of(population):
                assert_sound(each, inputs, outputs)
    assert len(widths) > 1, "the arrays were to grow"
    assert set(np.unique(population.act[:, inputs + 1 + outputs :]).tolist()) <= {0, *activations}


def test_arrays_grow_before_they_are_full():
    """Without mutation nothing is written, so this is safe whatever the width."""
    for steps in range(4):
        genome = grown(1, 1, steps, steps, kinds=("add_node",)) if steps else first_genome(1, 1, [1, 1])
        for spare in (0, 1, 2):
            children = population_of([genome], 1, 1, spare).children(
                np.zeros(1, np.int64), np.zeros(1, bool), np.zeros((1, 4)), PRESET, np.array([1], np.int8)
            )
            assert children.act.shape[1] > len(genome[0])
            assert children.src.shape[1] >= len(genome[1]) + 2


def test_plain_python_breeds_the_same(monkeypatch):
    genomes = [grown(3, 2, seed, 4 * seed) for seed in range(6)]
    rng = np.random.default_rng(4)
    parents, mutate, draws = rng.integers(6, size=200), rng.random(200) < 0.9, rng.random((200, 4))
    arguments = parents, mutate, draws, PRESET, np.array(ACTIVATIONS, np.int8)
    compiled = population_of(genomes, 3, 2).children(*arguments)
    packed = compiled.expressed()
    for name in ("_group", "layers", "_pick", "_new_connection", "breed", "express"):
        function = plain(getattr(breeding, name))
        monkeypatch.setattr(breeding, name, function)
        monkeypatch.setattr(module, name, function, raising=False)
    children = population_of(genomes, 3, 2).children(*arguments)
    assert genomes_of(children) == genomes_of(compiled)
    again = children.expressed()
    for name in ("node_ptr", "edge_ptr", "src", "act"):
        one, other = getattr(packed[0], name), getattr(again[0], name)
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert np.array_equal(packed[1], again[1])


# ---- expression


class Shapes:
    """Numbers for structures: two nodes have the same number exactly if they compute the same in the same way."""

    def __init__(self):
        self.known = {}

    def __call__(self, *structure):
        return self.known.setdefault(structure, len(self.known))

    def of_genome(self, genome, inputs, outputs, quirk):
        """(outputs in order, all live hidden nodes, connections of live nodes, connections switched on)."""
        act, genes = genome
        fixed = inputs + 1 + outputs
        works = [(s, d) for s, d, on in genes if on or (quirk and s >= fixed and d >= fixed)]
        live, todo = set(), list(range(inputs + 1, fixed))
        while todo:
            node = todo.pop()
            if node not in live:
                live.add(node)
                todo += [s for s, d in works if d == node and s > inputs]
        shape = {}

        def visit(node):
            if node not in shape:
                sources = sorted(visit(s) for s, d in works if d == node)
                shape[node] = self("input", node) if node <= inputs else self(act[node], *sources)
            return shape[node]

        hidden = sorted(visit(node) for node in live if node >= fixed)
        used = sum(d in live for _, d in works)
        return [visit(node) for node in range(inputs + 1, fixed)], hidden, used, len(works)

    def of_net(self, net):
        shape = [self("input", node) for node in range(net.inputs + 1)]
        for k, kind in enumerate(net.act.tolist()):
            sources = net.src[net.edge_ptr[k] : net.edge_ptr[k + 1]].tolist()
            shape.append(self(kind, *sorted(shape[s] for s in sources)))
        computed = shape[net.inputs + 1 :]
        return computed[-net.outputs :], sorted(computed[: -net.outputs]), net.connections


@given(
    st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.integers(0, 30)
)
@pytest.mark.parametrize("quirk", [False, True])
@settings(max_examples=40)
def test_expressed_networks_are_the_genomes(quirk, inputs, outputs, seeds, steps):
    genomes = [
        grown(inputs, outputs, seed, steps + k, on=(0, 0.1, 0.5, 1)[(k + steps) % 4]) for k, seed in enumerate(seeds)
    ]
    packed, switched_on = population_of(genomes, inputs, outputs).expressed(disabled_stay=quirk)
    assert len(packed) == len(genomes)
    assert (packed.inputs, packed.outputs) == (inputs, outputs)
    shapes = Shapes()
    for p, genome in enumerate(genomes):
        net = packed.net(p)  # which checks that sources are before targets
        outs, hidden, used, works = shapes.of_genome(genome, inputs, outputs, quirk)
        assert shapes.of_net(net) == (outs, hidden, used)
        assert (packed.connections[p], switched_on[p]) == (used, works)


# ---- parts of a population


def test_chosen_and_replaced():
    small = [grown(2, 1, seed, 2) for seed in range(4)]
    large = [grown(2, 1, seed, 30) for seed in range(3)]
    for mine, others in ((small, large), (large, small)):
        ours = population_of(mine, 2, 1)
        before = [array.copy() for array in ours.arrays]
        numbers = np.array([2, 0])
        merged = ours.replaced(numbers, population_of(others, 2, 1).chosen(np.array([1, 2])))
        assert genomes_of(merged) == [others[2], mine[1], others[1], *mine[3:]]
        assert all(np.array_equal(a, b) for a, b in zip(before, ours.arrays, strict=True))
        assert [array.dtype for array in merged.arrays] == [array.dtype for array in ours.arrays]
        assert genomes_of(ours.chosen(np.array([1, 1, 0]))) == [mine[1], mine[1], mine[0]]
        assert len(ours.chosen(np.array([], np.int64))) == 0
