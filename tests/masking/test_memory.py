"""Tensors that share memory: told exactly, against an oracle that lists every byte."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from untrained.masking.memory import refuse_shared


def _bytes_of(tensor):
    """The address of every byte of every element, with repetitions."""
    places = [0]
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = [place + step * stride for place in places for step in range(size)]
    item = tensor.element_size()
    return [tensor.data_ptr() + place * item + byte for place in places for byte in range(item)]


_views = st.tuples(
    st.integers(0, 12),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.int8, torch.float64]),
)


@given(st.lists(_views, min_size=1, max_size=4), st.booleans())
def test_sharing_is_what_a_list_of_all_bytes_says(described, two_memories):
    memories = [torch.zeros(512, dtype=torch.int8) for _ in range(2)]
    tensors = {}
    for i, (start, axes, dtype) in enumerate(described):
        memory = memories[i % 2 if two_memories else 0].view(dtype)
        tensors[f"t{i}"] = memory.as_strided([size for size, _ in axes], [stride for _, stride in axes], start)
    every = [byte for tensor in tensors.values() for byte in _bytes_of(tensor)]
    if len(set(every)) == len(every):
        refuse_shared(tensors)
    else:
        with pytest.raises(ValueError, match="share memory"):
            refuse_shared(tensors)


def _flat_weights():
    flat = torch.zeros(20)
    return {"a": flat[:8].view(2, 4), "b": flat[8:20].view(3, 4)}


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        (_flat_weights(), None),
        ({"a": (w := torch.zeros(6, 8))[:, :4], "b": w[:, 4:]}, None),
        ({"a": w[:, :5], "b": w[:, 4:]}, "'a' and 'b'|'b' and 'a'"),
        ({"a": w, "b": w.t()}, "'b' and 'a'"),
        ({"a": w.T[2:4].T}, None),
        ({"a": torch.zeros(1, 4).expand(3, 4)}, "'a'"),
        ({"a": torch.arange(4).expand(1, -1)}, None),
        ({"a": torch.zeros(9).as_strided((4, 3), (2, 1))}, "'a'"),
        ({"a": torch.zeros(0), "b": torch.zeros(0, 3).expand(5, 0, 3)}, None),
        ({"a": torch.empty(3, device="meta"), "b": torch.empty(3, device="meta").expand(3, 3)}, None),
        ({"a": torch.eye(3).to_sparse(), "b": torch.eye(3).to_mkldnn()}, None),
        ({"a": (c := torch.zeros(4, dtype=torch.complex64)), "b": torch.view_as_real(c)[:, 1]}, "'b' and 'a'"),
        ({"a": c.real, "b": c.imag}, None),
        ({"a": torch.zeros(4).unsqueeze(0).as_strided((1, 4), (0, 1))}, None),
    ],
)
def test_views_of_one_memory(tensors, named):
    if named is None:
        refuse_shared(tensors)
    else:
        with pytest.raises(ValueError, match=named):
            refuse_shared(tensors)


def test_the_weights_of_a_usual_network_share_nothing():
    model = nn.Sequential(nn.LSTM(4, 5, 2, bidirectional=True), nn.MultiheadAttention(8, 2), nn.BatchNorm1d(8))
    refuse_shared(dict(model.named_parameters()) | dict(model.named_buffers()))


def test_what_is_only_read_may_overlap_what_is_only_read():
    weight = torch.zeros(3, 4)
    read = {"mask": torch.ones(1, 4).expand(3, 4), "half": weight[:, 2:], "all": weight}
    refuse_shared({"own": torch.zeros(3)}, read)
    refuse_shared({"left": weight[:, :2]}, {"right": weight[:, 2:]})
    with pytest.raises(ValueError, match="'half' and 'weight'"):
        refuse_shared({"weight": weight}, {"half": weight[:, 2:]})
    with pytest.raises(ValueError, match="'wide' and 'left'"):
        refuse_shared({"left": weight[:, :2]}, {"wide": weight[:, 1:2].expand(3, 9)})


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_a_nested_tensor_has_no_place():
    refuse_shared({"a": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])})
