"""Tasks of examples against the network itself in double precision, and what they refuse."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wann_nets
from untrained.wann.networks.activations import NAMES, ids_of
from untrained.wann.networks.batch import Packed
from untrained.wann.networks.graph import WEIGHTS
from untrained.wann.networks.net import Net
from untrained.wann.tasks import examples, supervised
from untrained.wann.tasks.supervised import Classify, Regress
from untrained.wann.tasks.task import PARTS, part_seed
from wann_nets import error_bound

SMOOTH = ("linear", "gaussian", "tanh", "sigmoid", "inverse", "abs", "relu", "sin", "cos")
random_net = partial(wann_nets.random_net, hidden=6, weighted=False, activations=NAMES[:10])
SIZES = (1, 2, 127, 128, 129, 300)


def some(rows, columns=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return 3 * rng.normal(size=(rows, columns)) + 5, rng.permutation(np.arange(rows) % classes)


def classify(rows=60, columns=4, classes=3, **options):
    """All examples in every part, so that each size can be had."""
    x, y = some(max(rows, classes), columns, classes)
    part = (x[:rows], y[:rows])
    return Classify(x, y, **{"validation": part, "test": part, "batch": None, **options})


def regress(rows=60, columns=4, outputs=2, **options):
    x, _ = some(rows, columns)
    y = np.random.default_rng(1).normal(size=(rows, outputs))
    return Regress(x, y, **{"validation": (x, y), "test": (x, y), "batch": None, **options})


def scaled(task, part):
    """By the rule itself: the range of each training column becomes 0 to 1, a constant one 0."""
    train, x = task.examples("train")[0], task.examples(part)[0]
    low, width = train.min(0), np.ptp(train, axis=0)
    return (x - low) / np.where(width > 0, width, 1)


def cross_entropy(out, y):
    """Example by example."""
    losses = []
    for row, target in zip(out, y, strict=True):
        shifted = row - row.max()
        losses.append(np.log(np.sum(np.exp(shifted))) - shifted[target])
    return np.mean(losses)


def rewards_by_hand(task, nets, part):
    x, y = scaled(task, part), task.examples(part)[1]
    found = np.empty((len(nets), len(WEIGHTS)))
    for p, net in enumerate(nets):
        for v, w in enumerate(WEIGHTS):
            out = net(x, w)
            found[p, v] = -cross_entropy(out, y) if isinstance(task, Classify) else -np.mean((out - y) ** 2)
    return found


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rows", SIZES)
def test_rewards_are_losses_in_double_precision(rows, weighted):
    for task in (classify(rows), regress(rows)):
        nets = [
            random_net(s, 4, task.outputs, hidden=3, fan_in=3, weighted=weighted, activations=SMOOTH) for s in range(5)
        ]
        for part in ("validation", "test"):
            found = task.rewards(Packed.of(nets), WEIGHTS, 0, part=part)
            np.testing.assert_allclose(found, rewards_by_hand(task, nets, part), rtol=1e-5, atol=1e-5)
    if rows >= 3:
        found = task.rewards(Packed.of(nets), WEIGHTS, 0)
        np.testing.assert_allclose(found, rewards_by_hand(task, nets, "train"), rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(SIZES), st.sampled_from([2, 3, 7]))
def test_any_network_is_within_the_bounds_of_single_precision(seed, weighted, rows, outputs):
    for task in (classify(rows, classes=outputs), regress(rows, outputs=outputs)):
        net = random_net(seed, 4, outputs, weighted=weighted)
        found = task.rewards(Packed.of([net]), WEIGHTS, 0, part="test")[0]
        x = scaled(task, "test")
        for w, reward, expected in zip(WEIGHTS, found, rewards_by_hand(task, [net], "test")[0], strict=True):
            out = net(x, w)
            off = error_bound(net, x, w, 2.0**-22) + 2e-6 * abs(out)  # products of weights are rounded, too
            if isinstance(task, Classify):
                allowed = 2 * off.max(1).mean() + 1e-5
            else:
                allowed = (off * (2 * abs(out - task.examples("test")[1]) + off)).mean() + 1e-5 * (1 + abs(expected))
            assert not np.isfinite(allowed) or abs(reward - expected) <= allowed


def test_300_classes_and_2():
    for classes in (2, 300):
        task = classify(400, classes=classes)
        net = random_net(0, 4, classes, activations=SMOOTH)
        found = task.rewards(Packed.of([net]), WEIGHTS, 0, part="test")
        np.testing.assert_allclose(found, rewards_by_hand(task, [net], "test"), rtol=1e-5)
        # All outputs equal: the logarithm of their number, and the lowest class.
        equal = Packed.of([Net(4, classes, [1] * classes, [0] * (classes + 1), [])])
        np.testing.assert_allclose(task.rewards(equal, (1.0,), 0), -np.log(classes), rtol=1e-6)
        assert task.scores(equal, (1.0,))[0, 0] == (task.examples("test")[1] == 0).mean()


# ---- accuracy


@pytest.mark.parametrize("rows", SIZES)
def test_scores_count_what_is_right(rows):
    task = classify(rows, test=some(rows, seed=3))
    nets = [random_net(s, 4, 3, activations=SMOOTH, hidden=3) for s in range(6)]
    found = task.scores(Packed.of(nets), WEIGHTS)
    x, y = scaled(task, "test"), task.examples("test")[1]
    for p, net in enumerate(nets):
        for v, w in enumerate(WEIGHTS):
            out = net(x, w)
            top = np.sort(out, 1)
            close = (top[:, -1] - top[:, -2] < 1e-4) & (top[:, -1] != top[:, -2])
            assert abs(found[p, v] - (out.argmax(1) == y).mean()) <= close.mean() + 1e-12
    assert ((found >= 0) & (found <= 1)).all()


def test_ties_go_to_the_lowest_class():
    task = classify(60)
    y = task.examples("test")[1]
    # Outputs 0, x, x: class 0 where w·x < 0, else class 1.
    net = Packed.of([Net(4, 3, [1, 1, 1], [0, 0, 1, 2], [1, 1])])
    x = scaled(task, "test")[:, 0]
    found = task.scores(net, (1.0, -1.0))[0]
    np.testing.assert_allclose(found, [(y == (x > 0)).mean(), (y == 0).mean()])
    regression = regress()
    nets = Packed.of([random_net(1, 4, 2)])
    np.testing.assert_array_equal(
        regression.scores(nets, WEIGHTS, 0), regression.rewards(nets, WEIGHTS, 0, part="test")
    )


def test_ensemble_accuracy_is_that_of_the_finished_network():
    task = classify(90)
    net = random_net(5, 4, 3, activations=SMOOTH)
    x, y = task.examples("test")
    softmaxes = [np.exp(net(scaled(task, "test"), w)) for w in WEIGHTS]
    mean = np.mean([each / each.sum(1, keepdims=True) for each in softmaxes], 0)
    assert task.ensemble_accuracy(net) == (mean.argmax(1) == y).mean()
    finished = task.finished(net)
    np.testing.assert_array_equal(finished.predict(x), mean.argmax(1))
    np.testing.assert_allclose(finished(x, WEIGHTS), net(scaled(task, "test"), WEIGHTS), rtol=1e-12, atol=1e-12)
    assert finished.labels == task.labels == ("0", "1", "2")


def test_a_finished_regression_predicts_on_raw_inputs():
    task = regress()
    net = random_net(5, 4, 2, activations=SMOOTH)
    finished = task.finished(net)
    assert finished.labels is None
    expected = net(scaled(task, "test"), WEIGHTS).mean(0)
    np.testing.assert_allclose(finished.predict(task.examples("test")[0]), expected, rtol=1e-12, atol=1e-12)


# ---- outputs that are huge, infinite or no numbers


def chain(value, outputs=3):
    """The first output is `value`·input, the second its square; the others 0."""
    acts = [1, 11] + [1] * (outputs - 2)
    return Net(4, outputs, acts, [0, 1] + [2] * (outputs - 1), [1, 1], [value, value])


@pytest.mark.parametrize("value", [1e18, -1e18])
def test_huge_outputs_have_huge_losses(value):
    task = classify(40)
    net = chain(value)
    np.testing.assert_allclose(
        task.rewards(Packed.of([net]), (1.0,), 0), rewards_by_hand(task, [net], "train")[:, 4:5], rtol=1e-5
    )


@pytest.mark.parametrize("value", [1e30, -1e30, 3e38])
def test_infinite_outputs_have_no_plausible_reward(value):
    good = random_net(0, 4, 3, activations=SMOOTH)
    for task in (classify(40), regress(40, outputs=3)):
        found = task.rewards(Packed.of([good, chain(value), good]), (1.0, 0.5), 0)
        assert ((found[1] == -np.inf) | np.isnan(found[1]) | (found[1] < -1e20)).all()
        assert np.isfinite(found[0]).all()
        np.testing.assert_array_equal(found[0], found[2])


def torn(place):
    """∞ - ∞ in one of three outputs."""
    acts = ids_of(["square", "inverse", "linear", "linear", "linear"])
    ptr = [0, 1, 2, *[2 + 2 * (place <= k) for k in range(3)]]
    return Net(4, 3, acts, ptr, [0, 5, 5, 6], [1e30, 1, 1, 1])


@pytest.mark.parametrize("place", [0, 1, 2])
def test_nan_outputs_make_the_reward_none(place):
    for task in (classify(300), regress(300, outputs=3)):
        found = task.rewards(Packed.of([torn(place)]), (1.0, 2.0, 1e-15), 0)
        assert np.isnan(found[0, :2]).all()
        assert np.isfinite(found[0, 2])
        assert ((scores := task.scores(Packed.of([torn(place)]), (1.0,), 0)) <= 1).all() or np.isnan(scores).all()


@pytest.mark.parametrize("place", [0])
def test_nan_outputs_are_right_about_nothing(place):
    score = classify(300).scores(Packed.of([torn(place)]), (1.0,))[0, 0]
    assert np.isnan(score) or score == 0


# ---- without numba


def test_plain_numpy_gives_the_same(monkeypatch):
    for task in (classify(150), regress(150)):
        networks = Packed.of([random_net(s, 4, task.outputs, hidden=3, activations=SMOOTH) for s in range(4)])
        compiled = task.rewards(networks, WEIGHTS, 0), task.scores(networks, WEIGHTS, 0)
        monkeypatch.setattr(supervised, "AVAILABLE", False)
        monkeypatch.setattr(examples, "AVAILABLE", False)
        plain = task.rewards(networks, WEIGHTS, 0), task.scores(networks, WEIGHTS, 0)
        monkeypatch.undo()
        np.testing.assert_allclose(plain[0], compiled[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(plain[1], compiled[1], rtol=1e-5, atol=2 / 150)


@pytest.mark.parametrize("kind", [classify, regress])
def test_plain_numpy_has_no_warning_for_broken_networks(kind, monkeypatch):
    monkeypatch.setattr(supervised, "AVAILABLE", False)
    monkeypatch.setattr(examples, "AVAILABLE", False)
    task = kind(40) if kind is classify else kind(40, outputs=3)
    found = task.rewards(Packed.of([chain(1e200), chain(1.0)]), (1.0,), 0)
    assert not np.isfinite(found[0, 0]) and np.isfinite(found[1, 0])


# ---- which examples


def test_a_batch_is_drawn_by_the_seed_and_the_same_for_all():
    x, y = some(500)
    task = Classify(x, y, batch=70)
    train = task.examples("train")[0]
    drawn = {}
    for seed in range(20):
        batch, targets = task._draw_batch(seed, "train")
        rows = [np.flatnonzero((abs(scaled(task, "train") - row) < 1e-12).all(1))[0] for row in batch]
        assert len(set(rows)) == 70
        np.testing.assert_array_equal(task.examples("train")[1][rows], targets)
        drawn[tuple(rows)] = seed
    assert len(drawn) == 20 and len({row for rows in drawn for row in rows}) > 0.9 * len(train)
    networks = Packed.of([random_net(s, 4, 3) for s in range(4)])
    assert (task.rewards(networks, WEIGHTS, 8) != task.rewards(networks, WEIGHTS, 7)).any()


def test_repetitions_are_other_batches_and_the_reward_is_their_mean():
    task = Classify(*some(500), batch=70)
    net = random_net(1, 4, 3, activations=SMOOTH, hidden=3, fan_in=3)
    batches = [task._draw_batch(part_seed(7, "train") + rep, "train") for rep in range(3)]
    assert len({x.tobytes() for x, _ in batches}) == 3
    expected = [-np.mean([cross_entropy(net(x, w), y) for x, y in batches]) for w in WEIGHTS]
    np.testing.assert_allclose(task.rewards(Packed.of([net]), WEIGHTS, 7, reps=3)[0], expected, rtol=1e-5, atol=1e-5)
    seeds = {part_seed(seed, part) + rep for seed in range(50) for part in PARTS for rep in range(3)}
    assert len(seeds) == 450  # no two generations or parts share a batch


def test_other_parts_are_whole_and_do_not_know_the_seed():
    x, y = some(200)
    task = Classify(x, y, batch=10, test=(x[:33], y[:33]))
    networks = Packed.of([random_net(1, 4, 3, activations=SMOOTH, hidden=3)])
    for part in ("validation", "test"):
        found = task.rewards(networks, WEIGHTS, 1, reps=3, part=part)
        np.testing.assert_array_equal(found, task.rewards(networks, WEIGHTS, 2, part=part))
        np.testing.assert_allclose(found, rewards_by_hand(task, [networks.net(0)], part), rtol=1e-5)
    big = Classify(x, y, batch=10_000)
    np.testing.assert_array_equal(big.rewards(networks, WEIGHTS, 1, reps=2), big.rewards(networks, WEIGHTS, 2))


@pytest.mark.parametrize(("rows", "fraction", "held"), [(200, 0.1, 20), (7, 0.5, 4), (10, 0.1, 1), (5, 0.9, 4)])
def test_held_out_examples_are_not_searched_on(rows, fraction, held):
    x, y = some(rows)
    task = Regress(x, y, validation=fraction)
    parts = [task.examples(part)[0] for part in ("train", "validation")]
    assert [len(part) for part in parts] == [rows - held, held]
    both = np.concatenate(parts)
    np.testing.assert_array_equal(both[np.lexsort(both.T)], x[np.lexsort(x.T)])
    for part in ("train", "validation"):
        for row, target in zip(*task.examples(part), strict=True):
            assert y[(x == row).all(1)] == target
    np.testing.assert_array_equal(parts[1], Regress(x, y, validation=fraction).examples("validation")[0])


def test_inputs_are_scaled_by_the_training_examples_alone():
    x, y = some(100)
    x[:, 2] = 7.0
    far = (x[:5] * 100, y[:5])
    task = Classify(x, y, validation=far, test=far)
    seen = task._draw_batch(0, "train")[0]
    np.testing.assert_allclose(seen.min(0), 0, atol=1e-12)
    np.testing.assert_allclose(seen.max(0), [1, 1, 0, 1])
    np.testing.assert_allclose(task._draw_batch(0, "test")[0], scaled(task, "test"), rtol=1e-12)
    ranged = Classify(x, y, validation=far, value_range=(-10, 30))
    np.testing.assert_allclose(ranged._draw_batch(0, "validation")[0], (far[0] + 10) / 40, rtol=1e-12)
    np.testing.assert_allclose(
        ranged.finished(random_net(0, 4, 3)).scaled(far[0]), ranged._draw_batch(0, "validation")[0], rtol=1e-12
    )


def test_unused_inputs_do_not_matter():
    x, y = some(100, columns=2)
    wide = np.concatenate([x, 1e9 * np.random.default_rng(0).normal(size=(100, 3))], 1)
    narrow_net = Net(2, 3, [5, 1, 1, 1], [0, 2, 3, 4, 5], [1, 2, 0, 3, 3])
    wide_net = Net(5, 3, [5, 1, 1, 1], [0, 2, 3, 4, 5], [1, 2, 0, 6, 6])
    found = Classify(wide, y).rewards(Packed.of([wide_net]), WEIGHTS, 0)
    np.testing.assert_array_equal(found, Classify(x, y).rewards(Packed.of([narrow_net]), WEIGHTS, 0))


# ---- kinds of classes

CLASSES = {
    "whole numbers": ([3, 7, 7, 3], ("3", "7")),
    "negative": ([-1, 1, 1, -1], ("-1", "1")),
    "floats": ([0.5, 1.5, 0.5, 0.5], ("0.5", "1.5")),
    "booleans": ([True, False, True, True], ("False", "True")),
    "words": (["cat", "mouse", "cat", "a"], ("a", "cat", "mouse")),
    "objects": (np.array(["cat", "mouse", "cat", "a"], object), ("a", "cat", "mouse")),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_classes_are_any_numbers_or_names(kind):
    y, labels = CLASSES[kind]
    x = np.arange(8.0).reshape(4, 2)
    task = Classify(x, y, validation=(x, y), test=(x[::-1], y[::-1]))
    assert task.labels == labels and task.outputs == len(labels)
    for part, given_y in (("train", y), ("validation", y), ("test", y[::-1])):
        assert [labels[k] for k in task.examples(part)[1]] == [str(each) for each in given_y]


def test_labels_name_the_numbers_from_0():
    x = np.arange(8.0).reshape(4, 2)
    for y in ([0, 1, 0, 1], [0.0, 1.0, 0.0, 1.0], [False, True, False, True]):
        task = Classify(x, y, labels=["no", "yes", "maybe"], validation=(x, y))
        assert task.labels == ("no", "yes", "maybe") and task.outputs == 3
        assert task.examples("train")[1].tolist() == [0, 1, 0, 1]


X, Y = some(40)
BAD = {
    "text": (Classify, ([["a", "b"]] * 40, Y), {}),
    "nan": (Classify, (np.where(X > 6, np.nan, X), Y), {}),
    "infinity": (Regress, (np.where(X > 6, np.inf, X), Y), {}),
    "nothing": (Classify, ([], []), {}),
    "no rows": (Classify, (X[:0], Y[:0]), {}),
    "no columns": (Regress, (X[:, :0], Y), {}),
    "one column only, flat": (Classify, (X[:, 0], Y), {}),
    "three dimensions": (Regress, (X[None], Y), {}),
    "ragged": (Classify, ([[1.0], [1.0, 2.0]] * 20, Y), {}),
    "None": (Classify, (None, Y), {}),
    "too few classes": (Classify, (X, Y[:-1]), {}),
    "one class": (Classify, (X, 0 * Y), {}),
    "one label": (Classify, (X, 0 * Y), {"labels": ["a"]}),
    "classes beyond the labels": (Classify, (X, Y), {"labels": ["a", "b"]}),
    "negative classes and labels": (Classify, (X, -Y), {"labels": ["a", "b", "c"]}),
    "halves and labels": (Classify, (X, Y / 2), {"labels": ["a", "b", "c"]}),
    "words and labels": (Classify, (X, ["a", "b"] * 20), {"labels": ["a", "b"]}),
    "classes with nan": (Classify, (X, np.where(Y > 1, np.nan, Y)), {}),
    "a column of classes": (Classify, (X, Y[:, None]), {}),
    "an unknown test class": (Classify, (X, Y), {"test": (X[:2], [0, 9])}),
    "an unknown class between": (Classify, (X, Y), {"test": (X[:2], [0, 0.5])}),
    "an unknown test word": (Classify, (X, list(map(str, Y))), {"test": (X[:2], ["0", "zebra"])}),
    "test inputs of another width": (Classify, (X, Y), {"test": (X[:, :2], Y)}),
    "test inputs with nan": (Regress, (X, Y), {"test": (X * np.nan, Y)}),
    "test classes of another count": (Classify, (X, Y), {"test": (X, Y[:2])}),
    "targets of another count": (Regress, (X, Y[:-1]), {}),
    "targets of another width": (Regress, (X, Y), {"test": (X, np.zeros((40, 2)))}),
    "targets of text": (Regress, (X, ["a"] * 40), {}),
    "targets with nan": (Regress, (X, np.where(Y > 1, np.nan, Y)), {}),
    "no targets": (Regress, (X, np.zeros((40, 0))), {}),
    "nothing held out": (Classify, (X, Y), {"validation": 0}),
    "all held out": (Classify, (X, Y), {"validation": 1.0}),
    "an empty batch": (Classify, (X, Y), {"batch": 0}),
    "half a batch": (Classify, (X, Y), {"batch": 2.5}),
    "a range downwards": (Classify, (X, Y), {"value_range": (1, 0)}),
    "a range of nothing": (Classify, (X, Y), {"value_range": (0, 0)}),
    "a range to nan": (Classify, (X, Y), {"value_range": (0, np.nan)}),
    "a range to infinity": (Classify, (X, Y), {"value_range": (0, np.inf)}),
    "objects of two kinds": (Classify, (X, np.array([1, "a"] * 20, object)), {}),
    "a missing name": (Classify, (X, np.array([None, "a"] * 20, object)), {}),
    "huge whole numbers": (Classify, ([[10**400]] * 40, Y), {}),
    "validation without classes": (Classify, (X, Y), {"validation": (X,)}),
    "a range of text": (Classify, (X, Y), {"value_range": ("a", "b")}),
}


@pytest.mark.parametrize("what", BAD)
def test_invalid_examples_are_refused_by_the_task_s_name(what):
    kind, arguments, options = BAD[what]
    with pytest.raises(ValueError, match=f"{kind.__name__.lower()}: "):
        kind(*arguments, **options)


def test_few_examples_are_both_learnt_and_chosen_by():
    with pytest.warns(UserWarning, match="4 examples are too few to hold 0.1 of them out: .*validation=None"):
        few = Classify(X[:4], [0, 1, 1, 0])
    asked = Classify(X[:4], [0, 1, 1, 0], validation=None)
    for task in (few, asked):
        for x, y in (task.examples("train"), task.examples("validation")):
            np.testing.assert_array_equal(x, X[:4])
            assert y.tolist() == [0, 1, 1, 0]
    with pytest.raises(ValueError, match=r"validation .* 4 examples.* None .*got 0.9"):
        Classify(X[:4], [0, 1, 1, 0], validation=0.9)


@pytest.mark.parametrize("huge", [3e307, 5e-324])
def test_columns_of_extreme_width_are_refused_or_work(huge):
    try:
        task = Classify(np.sign(X - 5) * huge * (4 if huge > 1 else 1), Y)
    except ValueError:
        return
    task.finished(random_net(0, 4, 3))


def test_a_test_input_far_outside_gives_no_warning():
    task = Classify(X, Y, value_range=(0, 1), test=(X * 1e300, Y))
    task.rewards(Packed.of([random_net(0, 4, 3)]), (1.0,), 0, part="test")


def test_an_unknown_class_is_named_plainly():
    with pytest.raises(ValueError, match="got 9 in row 1"):
        Classify(X, Y, test=(X[:2], [0, 9]))


def test_parts_that_are_not_there_are_an_error():
    task, networks = Classify(X, Y), Packed.of([random_net(0, 4, 3)])
    with pytest.raises(ValueError, match="part must be one of train, validation, got test"):
        task.scores(networks, (1.0,))
    with pytest.raises(ValueError, match="part"):
        task.rewards(networks, (1.0,), 0, part="holdout")
    with pytest.raises(ValueError, match="networks must"):
        task.rewards(Packed.of([random_net(0, 3, 3)]), (1.0,), 0)
    with pytest.raises(ValueError, match="networks must"):
        task.scores(Packed.of([random_net(0, 4, 2)]), (1.0,))


# ---- identity and copies


def test_identity_changes_with_the_examples():
    first = Classify(X, Y, test=(X, Y)).identity()
    assert first == Classify(X.copy(), Y.tolist(), test=(X, Y)).identity()
    changed = X.copy()
    changed[3, 1] = np.nextafter(changed[3, 1], 9)
    others = [
        Classify(changed, Y, test=(X, Y)),
        Classify(X, Y, test=(changed, Y)),
        Classify(X, np.roll(Y, 1), test=(X, Y)),
        Classify(X, Y, test=(X, np.roll(Y, 1))),
        Classify(X, Y),
        Classify(X, Y, test=(X, Y), batch=5),
        Classify(X, Y, test=(X, Y), name="other"),
        Classify(X, Y, test=(X, Y), validation=0.2),
    ]
    assert all(other.identity() != first for other in others)


@pytest.mark.parametrize("options", [{"value_range": (0, 9)}, {"labels": ["a", "b", "c"]}])
def test_identity_changes_with_scaling_and_labels(options):
    assert Classify(X, Y, **options).identity() != Classify(X, Y).identity()
