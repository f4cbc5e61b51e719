"""Everything that the library makes names its device: torch's default may be another."""

import copy

import pytest
import torch
from test_roles import PADDED
from torch import nn

import untrained as ut


@pytest.fixture
def elsewhere():
    """Another default device: the meta device stands in for cuda, and what lands there was made without naming one."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("method", [*PADDED.values(), ut.SlotMachines(), ut.PartlyFrozen()], ids=str)
def test_masks_and_tickets(elsewhere, method):
    model = nn.Sequential(nn.Linear(8, 4, device="cpu"), nn.Linear(4, 3, device="cpu"))
    masked = ut.mask_(copy.deepcopy(model), method)
    assert ut.summary(masked).weights == 44
    ut.advance_(masked, 2, 4)
    masked(torch.ones(2, 8, device="cpu"))
    ticket = ut.Ticket.of(masked)
    ticket.apply_(copy.deepcopy(model))
    ticket.verify()


def test_a_search_and_its_exports(elsewhere, tmp_path):
    def network():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False, device="cpu"))

    data, model = ut.load_data("digits"), ut.mask_(network(), ut.EdgePopup(0.5))
    facts = {"shape": data.shape, "mean": data.mean, "std": data.std, "labels": data.labels}
    ut.fit(model, data.batches("train", 64), data.batches("val", 500), epochs=1, out=tmp_path, title=None, meta=facts)
    ticket = ut.Ticket.load(tmp_path / "found.ticket")
    ut.export.to_torch(ticket, tmp_path / "found.pt", network())
    ut.export.to_safetensors(ticket, tmp_path / "found.safetensors", network())
    assert ut.evaluate(model, data.batches("test", 500)).accuracy > 0.5
    packed = ut.pack_(ticket.apply_(network()))
    assert packed(torch.zeros(2, 1, 8, 8, device="cpu")).device.type == "cpu"


def test_images_in_folders(elsewhere, tmp_path):
    pil = pytest.importorskip("PIL.Image")
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(12):
            pil.new("L", (8, 8), 9 * number + ord(label)).save(tmp_path / label / f"{number}.png")
    data = ut.load_data(tmp_path)
    for part in ("train", "val", "test"):
        for x, y in data.batches(part, 5):
            assert x.device.type == y.device.type == "cpu"
