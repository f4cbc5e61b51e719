import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.data.dataset import Batches, Split

COUNTS = st.integers(0, 60)
SIZES = st.integers(1, 20)
WORLDS = st.integers(1, 5)


def make_batches(count: int, size: int, side: int = 1, **options: object) -> Batches:
    images = torch.randint(1, 256, (count, 3, side, side), generator=torch.Generator().manual_seed(0))
    split = Split(images.to(torch.uint8), torch.arange(count))
    return Batches(split, size, mean=(0.0,) * 3, std=(1.0,) * 3, **options)  # pyright: ignore[reportArgumentType]


def labels_of(batches: Batches) -> list[int]:
    return [label for _, y in batches for label in y.tolist()]


@given(count=COUNTS, size=SIZES, shuffle=st.booleans())
def test_batches_cover_each_example_once(count: int, size: int, shuffle: bool) -> None:
    batches = make_batches(count, size, shuffle=shuffle)
    sizes = [len(y) for _, y in batches]
    assert len(sizes) == len(batches)
    assert all(length == size for length in sizes[:-1])
    if size > 1 and count > 1:
        assert min(sizes) > 1 and max(sizes) <= size + 1
    labels = labels_of(batches)
    assert sorted(labels) == list(range(count))
    if not shuffle:
        assert labels == list(range(count))


@given(count=COUNTS, size=SIZES, world=WORLDS)
def test_shards_partition_the_examples_in_order(count: int, size: int, world: int) -> None:
    shards = [make_batches(count, size).shard(rank, world) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    assert all(len(list(shard)) == len(shard) for shard in shards)
    assert sorted(label for shard in shards for label in labels_of(shard)) == list(range(count))


@settings(max_examples=40)
@given(whole=st.integers(1, 3), size=st.integers(2, 5), world=WORLDS, augment=st.booleans())
def test_no_rank_learns_from_a_single_example(whole: int, size: int, world: int, augment: bool) -> None:
    batches = make_batches(whole * size * world + 1, size, side=4, shuffle=True, augment=augment)
    for rank in range(world):
        assert [len(y) for _, y in batches.shard(rank, world)] == [*([size] * (whole - 1)), size + 1]


@given(count=COUNTS, size=SIZES, world=WORLDS, epoch=st.integers(0, 3))
def test_training_shards_cover_all_with_no_rank_short(count: int, size: int, world: int, epoch: int) -> None:
    whole = make_batches(count, size, shuffle=True)
    whole.set_epoch(epoch)
    shards = [labels_of(whole.shard(rank, world)) for rank in range(world)]
    assert len({len(shard) for shard in shards}) == 1
    together = [label for shard in shards for label in shard]
    assert set(together) == set(range(count))
    assert len(together) - count < world


@settings(max_examples=40)
@given(size=st.integers(1, 5), world=WORLDS, seed=st.integers(-3, 3))
def test_shards_together_are_one_process_with_bigger_batches(size: int, world: int, seed: int) -> None:
    count = 3 * size * world
    options = {"side": 4, "shuffle": True, "augment": True, "seed": seed}
    whole = make_batches(count, size * world, **options)  # pyright: ignore[reportArgumentType]
    shards = [make_batches(count, size, **options).shard(rank, world) for rank in range(world)]  # pyright: ignore[reportArgumentType]
    for (x, y), *parts in zip(whole, *shards, strict=True):
        for rank, (part_x, part_y) in enumerate(parts):
            assert torch.equal(x[rank::world], part_x)
            assert torch.equal(y[rank::world], part_y)


@settings(max_examples=40)
@given(seed=st.integers(), epoch=st.integers(0, 10**9))
def test_same_seed_and_epoch_give_the_same_batches(seed: int, epoch: int) -> None:
    runs = []
    for warm_up in (0, 2):
        batches = make_batches(12, 5, side=4, shuffle=True, augment=True, seed=seed)
        for earlier in range(warm_up):
            batches.set_epoch(earlier)
            list(batches)
        batches.set_epoch(epoch)
        runs.append(list(batches))
    for (x, y), (other_x, other_y) in zip(*runs, strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_other_seeds_and_epochs_give_other_orders() -> None:
    orders = set()
    for seed in range(3):
        batches = make_batches(50, 7, shuffle=True, seed=seed)
        for epoch in range(3):
            batches.set_epoch(epoch)
            orders.add(tuple(labels_of(batches)))
    assert len(orders) == 9


def test_set_epoch_within_an_epoch_waits_for_the_next() -> None:
    batches = make_batches(40, 8, shuffle=True)
    labels = []
    for _, y in batches:
        batches.set_epoch(1)
        labels += y.tolist()
    assert sorted(labels) == list(range(40))


def test_the_global_generator_is_untouched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(make_batches(20, 4, side=4, shuffle=True, augment=True))
    assert torch.equal(before, torch.get_rng_state())


def test_images_are_normalised_per_channel() -> None:
    split = Split(torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1), torch.tensor([0]))
    batches = Batches(split, 1, mean=(0.5, 0.2, 0.25), std=(0.5, 0.1, 0.25))
    x, y = next(iter(batches))
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert x.flatten().tolist() == pytest.approx([-1, 0, 3], abs=1e-6)


@settings(max_examples=20)
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 1000))
def test_augmented_images_are_shifted_or_mirrored_by_at_most_4_pixels(height: int, width: int, seed: int) -> None:
    images = torch.arange(1, 1 + 3 * height * width).remainder(256).to(torch.uint8).view(1, 3, height, width)
    split = Split(images.repeat(8, 1, 1, 1), torch.zeros(8, dtype=torch.int64))
    x, _ = next(iter(Batches(split, 8, mean=(0.0,) * 3, std=(1.0,) * 3, augment=True, seed=seed)))
    padded = torch.zeros(3, height + 8, width + 8)
    padded[:, 4 : 4 + height, 4 : 4 + width] = images[0]
    possible = {}
    for top in range(9):
        for left in range(9):
            crop = padded[:, top : top + height, left : left + width]
            possible[tuple(crop.flatten().tolist())] = crop
            possible[tuple(crop.flip(2).flatten().tolist())] = crop
    assert x.shape == (8, 3, height, width)
    assert all(tuple(image.mul(255).round().flatten().tolist()) in possible for image in x)


def test_all_shifts_and_both_mirrorings_occur() -> None:
    # A white pixel in the middle shows the shift, and the grey one to its right the mirroring.
    images = torch.zeros(4000, 1, 9, 11, dtype=torch.uint8)
    images[:, 0, 4, 5] = 255
    images[:, 0, 4, 6] = 100
    split = Split(images, torch.zeros(4000, dtype=torch.int64))
    x, _ = next(iter(Batches(split, 4000, mean=(0.0,), std=(1.0,), augment=True)))
    white = x[:, 0] == 1
    places = white.sum(0)
    assert places.sum() == 4000
    assert places[:, [0, 10]].sum() == 0
    assert places[:, 1:10].min() > 15
    grey_is_left = (x.flatten(1).roll(1, 1) * white.flatten(1)).sum(1) > 0
    assert grey_is_left.sum().item() == pytest.approx(2000, abs=150)


def test_padding_is_black_before_normalisation() -> None:
    split = Split(torch.full((50, 1, 2, 2), 255, dtype=torch.uint8), torch.zeros(50, dtype=torch.int64))
    x, _ = next(iter(Batches(split, 50, mean=(0.5,), std=(0.25,), augment=True)))
    assert set(x.flatten().tolist()) == {-2.0, 2.0}


def test_batches_are_made_on_the_device() -> None:
    for x, y in make_batches(5, 2, side=4, shuffle=True, augment=True, device="meta"):
        assert (x.device.type, y.device.type) == ("meta", "meta")


def test_attributes() -> None:
    batches = make_batches(5, 2)
    assert len(batches.split) == 5
    assert batches.batch_size == 2


def test_arguments_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match=r"batch_size.*got 0"):
        make_batches(5, 0)
    for rank, world in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=f"rank.*got {rank} of a world of {world}"):
            make_batches(5, 2).shard(rank, world)
