import numpy as np
import pytest
import torch

from untrained.data.dataset import DataSet, Split, load_data


def make_split(count: int, channels: int = 1, side: int = 2) -> Split:
    numbers = torch.arange(count)
    images = (numbers % 256).to(torch.uint8).view(-1, 1, 1, 1).repeat(1, channels, side, side)
    return Split(images, numbers)


def test_digits_are_embedded() -> None:
    digits = load_data("digits")
    assert digits.name == "digits"
    assert (len(digits.train), len(digits.val), len(digits.test)) == (1147, 200, 450)
    assert digits.shape == (1, 8, 8)
    assert digits.classes == 10
    assert digits.labels == tuple("0123456789")
    assert not digits.augment
    parts = (digits.train, digits.val, digits.test)
    images = torch.cat([torch.as_tensor(part.images) for part in parts])
    assert (images.min(), images.max()) == (0, 255)
    # The counts scikit-learn documents for its 1,797 digits.
    counts = torch.bincount(torch.cat([part.labels for part in parts]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_are_the_same_each_time() -> None:
    first, second = load_data("digits"), load_data("digits", val_fraction=0.5)
    for part in ("train", "val", "test"):
        assert torch.equal(getattr(first, part).labels, getattr(second, part).labels)
        assert torch.equal(getattr(first, part).images, getattr(second, part).images)


def test_computed_statistics_are_those_of_the_training_part() -> None:
    digits = load_data("digits")
    values = torch.as_tensor(digits.train.images).double() / 255
    assert digits.mean == pytest.approx([values.mean().item()])
    assert digits.std == pytest.approx([values.std(correction=0).item()])


def test_training_batches_of_digits_are_normalised() -> None:
    x = torch.cat([x for x, _ in load_data("digits").batches("train", 100)])
    assert x.dtype == torch.float32
    assert x.mean().item() == pytest.approx(0, abs=1e-5)
    assert x.std(correction=0).item() == pytest.approx(1, abs=1e-5)


def make_data_set(augment: bool, side: int = 6) -> DataSet:
    generator = np.random.default_rng(0)
    split = Split(torch.from_numpy(generator.integers(1, 256, (12, 3, side, side), dtype=np.uint8)), torch.arange(12))
    labels = tuple("abcdefghijkl")
    return DataSet("letters", split, split, split, labels, (0.0,) * 3, (1.0,) * 3, augment)


@pytest.mark.parametrize("augment", [False, True])
def test_only_training_batches_are_shuffled_and_augmented(augment: bool) -> None:
    data = make_data_set(augment)
    for part in ("val", "test"):
        (x, y), *others = data.batches(part, 12)
        assert not others
        assert torch.equal(y, torch.arange(12))
        torch.testing.assert_close(x * 255, torch.as_tensor(data.test.images).float())
    x, y = next(iter(data.batches("train", 12)))
    assert y.tolist() != list(range(12))
    unchanged = torch.as_tensor(data.train.images)[y].float()
    assert torch.allclose(x * 255, unchanged) is not augment


def test_batches_need_a_known_part() -> None:
    with pytest.raises(ValueError, match=r"part.*'dev'"):
        make_data_set(False).batches("dev", 3)  # pyright: ignore[reportArgumentType]


def test_labels_out_of_range_are_refused() -> None:
    split = make_split(4)
    with pytest.raises(ValueError, match=r"letters: labels of the train part .*0\.\.2, got 3"):
        DataSet("letters", split, split, split, tuple("abc"), (0.0,), (1.0,), False)


def test_one_class_is_too_few_to_learn() -> None:
    same = Split(make_split(4).images, torch.full((4,), 2))
    with pytest.raises(ValueError, match=r"letters: .*two classes, got one"):
        DataSet("letters", same, same, same, tuple("abcd"), (0.0,), (1.0,), False)


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"data set 'mnits' \(did you mean mnist\?\): expected one of digits, mnist, .*cifar100"
    ):
        load_data("mnits")
    with pytest.raises(ValueError, match="data set '~nobody-here/x': expected one of"):
        load_data("~nobody-here/x")


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_validation_fractions_out_of_range_are_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=f"val_fraction.*{fraction}"):
        load_data("digits", val_fraction=fraction)


def test_a_size_is_for_folders_only() -> None:
    with pytest.raises(ValueError, match=r"size.*digits, got 32"):
        load_data("digits", size=32)
