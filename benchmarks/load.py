"""A found network from its file to a ready model: a ticket against the same weights as fp32 safetensors.

.venv/bin/python benchmarks/load.py        (about a minute)

ResNet-50 for ImageNet, 25.5 M weights, from the page cache into a model that is there already.
"""

import tempfile
from pathlib import Path

import safetensors.torch
import torch

import untrained as ut
from harness import Timing, interleave, report, without_kernels

ROUNDS = 21
torch.set_num_threads(1)


def network() -> torch.nn.Module:
    return ut.models.resnet50(shape=(3, 224, 224), classes=1000)


def ticket(keep: float, folder: Path) -> Path:
    """A ticket whose scores have moved by rows, columns and chance: those of a model never searched cost nothing."""
    path, model, draws = folder / f"keep{keep}.ticket", ut.mask_(network(), ut.EdgePopup(keep)), torch.Generator()
    for score in ut.scores(model):
        flat = score.detach().reshape(len(score), -1)  # shares its memory
        moves = [(0.5, flat.shape), (0.4, (len(flat), 1)), (0.4, flat.shape[1:])]
        flat += flat.std() * sum(size * torch.randn(shape, generator=draws) for size, shape in moves)
    ut.save(model, path)
    return path


def plainly(path: Path, model: torch.nn.Module) -> torch.nn.Module:
    with without_kernels():
        return ut.load(path, model)


def rows(folder: Path) -> list[Timing]:
    half, less, full = ticket(0.5, folder), ticket(0.3, folder), folder / "fp32.safetensors"
    model = ut.load(half, network())
    safetensors.torch.save_model(model, str(full))
    for path in (full, half, less):
        print(f"{path.name:20} {path.stat().st_size / 1e6:8.2f} MB")
    tensors = list(model.state_dict().values())

    def fill() -> None:
        for tensor in tensors:
            tensor.fill_(1)

    return interleave(
        {
            "load_file and load_state_dict": lambda: model.load_state_dict(safetensors.torch.load_file(full)),
            "safetensors' load_model": lambda: safetensors.torch.load_model(model, full),
            "untrained: keep 0.5": lambda: ut.load(half, model),
            "untrained: keep 0.3": lambda: ut.load(less, model),
            "untrained, no kernels: keep 0.5": lambda: plainly(half, model),
            "untrained, no kernels: keep 0.3": lambda: plainly(less, model),
            "floor: fill the model's memory": fill,
        },
        reference="load_file and load_state_dict",
        rounds=ROUNDS,
    )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        report("load", {"ResNet-50 from a file in the page cache": rows(Path(folder))})
