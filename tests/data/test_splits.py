import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from untrained.data.holdout import hold_out
from untrained.data.splits import Split


class OnDemand:
    """Counts how many images it was asked for."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.asked = 0

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: Tensor, /) -> Tensor:
        self.asked += len(indices)
        return self.images[indices]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64), r"float32 \(2, 1, 2, 2\)"),
        (torch.zeros(2, 2, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), r"uint8 \(2, 2\)"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(2), r"labels.*float32 \(2,\)"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "labels.*3 and 2"),
    ],
)
def test_split_refuses_other_forms(images: Tensor, labels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_a_choice_of_a_lazy_source_decodes_only_what_is_asked_for() -> None:
    lazy = OnDemand(torch.arange(10, dtype=torch.uint8).view(-1, 1, 1, 1).repeat(1, 1, 2, 2))
    part = Split(lazy, torch.arange(10)).choose(torch.tensor([7, 3, 5])).choose(torch.tensor([2, 0]))
    assert lazy.asked == 0
    assert len(part) == len(part.images) == 2
    assert part.labels.tolist() == [5, 7]
    assert part.images[torch.tensor([1])].flatten().tolist() == [7, 7, 7, 7]
    assert lazy.asked == 1


@given(size=st.integers(2, 300), data=st.data())
def test_hold_out_divides_the_examples(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(1, size - 1))
    kept, held = hold_out(size, count)
    assert len(held) == count
    assert sorted(kept.tolist() + held.tolist()) == list(range(size))
    assert kept.tolist() == sorted(kept.tolist())
    if count > 1:
        assert set(hold_out(size, count - 1)[1].tolist()) < set(held.tolist())


def test_hold_out_never_changes() -> None:
    assert hold_out(20, 5)[1].tolist() == [3, 5, 9, 11, 18]
    assert hold_out(1000, 5)[1].tolist() == [66, 165, 590, 718, 864]


@pytest.mark.parametrize("count", [0, 4, 5])
def test_hold_out_needs_something_on_both_sides(count: int) -> None:
    with pytest.raises(ValueError, match=f"hold out {count} of 4"):
        hold_out(4, count)
