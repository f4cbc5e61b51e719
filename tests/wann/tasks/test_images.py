"""Tasks of images: upright, small, and the same numbers as the paper's."""

from pathlib import Path

import numpy as np
import pytest
import torch

from untrained.wann.tasks.images import _make_upright, _shrink, digits, mnist

MNIST = Path(__file__).parents[4] / "shared" / "data"


def slanted(slant, side=28):
    """Bars that lean: column moves by `slant` pixels a row, of several widths and places."""
    rows, columns = torch.arange(side)[:, None], torch.arange(side)[None, :]
    bars = []
    for width, place in ((1.5, 0.0), (2.5, 2.0), (2.0, -2.0)):
        middle = side / 2 + place + slant * (rows - side / 2)
        bars.append((1 - (columns - middle).abs() / width).clamp(0, 1) * ((rows > 6) & (rows < 21)))
    return torch.stack(bars)[:, None].float()


def slant_of(images):
    """Covariance of columns and rows over the variance of rows, by hand."""
    found = []
    for image in images[:, 0].double().numpy():
        rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
        mass = image / image.sum()
        row, column = (mass * rows).sum(), (mass * columns).sum()
        found.append((mass * (rows - row) * (columns - column)).sum() / (mass * (rows - row) ** 2).sum())
    return np.array(found)


@pytest.mark.parametrize("slant", [-0.6, -0.3, 0.0, 0.2, 0.5])
def test_slanted_bars_are_made_upright(slant):
    images = slanted(slant)
    np.testing.assert_allclose(slant_of(images), slant, atol=0.06)
    upright = _make_upright(images)
    assert abs(slant_of(upright)).max() < 0.03
    np.testing.assert_allclose(upright.sum((1, 2, 3)), images.sum((1, 2, 3)), rtol=0.1)
    # In the middle, as their centre was taken for the origin.
    columns = torch.arange(28.0)
    centre = (upright.sum((1, 2)) * columns).sum(1) / upright.sum((1, 2, 3))
    np.testing.assert_allclose(centre, 13.5, atol=0.3)
    small = _shrink(upright, 16)
    assert small.shape == (3, 1, 16, 16) and small.min() >= 0 and small.max() <= 1
    assert abs(slant_of(small)).max() < 0.05


def test_images_without_a_slant_to_find_stay_numbers():
    images = torch.zeros(4, 1, 28, 28)
    images[1, 0, 5, 7] = 1
    images[2, 0, 9] = 1  # one row
    images[3] = 1
    upright = _shrink(_make_upright(images), 16)
    assert torch.isfinite(upright).all() and upright.min() >= 0 and upright.max() <= 1
    assert (upright[0] == 0).all()


@pytest.fixture(scope="module")
def of_digits():
    return digits()


def test_digits(of_digits):
    assert (of_digits.inputs, of_digits.outputs) == (64, 10) and of_digits.labels == tuple("0123456789")
    assert "step" not in of_digits.activations and of_digits.name == "digits"
    parts = [of_digits.examples(part) for part in ("train", "validation", "test")]
    assert sum(len(x) for x, _ in parts) == 1797
    for x, y in parts:
        assert x.dtype == float and 0 <= x.min() and x.max() <= 1 and set(y) == set(range(10))
    rows = {row.tobytes() for row in parts[0][0]}
    assert not rows & {row.tobytes() for row in parts[2][0]}
    # Inputs reach the network as they are.
    np.testing.assert_array_equal(of_digits._draw_batch(0, "test")[0], parts[2][0])


@pytest.mark.skipif(not (MNIST / "MNIST").exists(), reason="MNIST is not here")
def test_mnist():
    task = mnist(MNIST)
    assert (task.inputs, task.outputs, task.labels) == (256, 10, tuple("0123456789"))
    sizes = [len(task.examples(part)[0]) for part in ("train", "validation", "test")]
    assert sum(sizes) == 70_000 and sizes[2] == 10_000
    x = task.examples("test")[0]
    assert np.isfinite(x).all() and x.min() >= 0 and 0.9 < x.max() <= 1
    assert abs(slant_of(torch.from_numpy(x[:300].reshape(-1, 1, 16, 16)))).mean() < 0.05
