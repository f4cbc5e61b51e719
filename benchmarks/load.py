"""A found network from its file to a ready model and back: tickets of both formats against fp32 safetensors.

.venv/bin/python benchmarks/load.py        (about five minutes)

ResNet-50 for ImageNet, 25.5 M weights, from the page cache into a model that is there already. CPU time is that of one
thread; wall time that of all threads that torch takes, which says something on a quiet machine only.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import safetensors.torch
import torch

import untrained as ut
from harness import interleave, report, without_kernels

KEEPS = (0.5, 0.3)
ROUNDS, SAVES = 21, 5
THREADS = torch.get_num_threads()


def network() -> torch.nn.Module:
    return ut.models.resnet50(shape=(3, 224, 224), classes=1000)


def ticket(keep: float) -> ut.Ticket:
    """A ticket whose scores have moved by rows, columns and chance: those of a model never searched cost nothing."""
    model, draws = ut.mask_(network(), ut.EdgePopup(keep)), torch.Generator().manual_seed(1)
    for score in ut.scores(model):
        flat = score.detach().reshape(len(score), -1)  # shares its memory
        moves = [(0.5, flat.shape), (0.4, (len(flat), 1)), (0.4, flat.shape[1:])]
        flat += flat.std() * sum(size * torch.randn(shape, generator=draws) for size, shape in moves)
    return ut.Ticket.of(model)


def plainly(path: Path, model: torch.nn.Module) -> torch.nn.Module:
    with without_kernels():
        return ut.load(path, model)


def loads(files: dict[str, Path], folder: Path) -> dict[str, Callable[[], object]]:
    """All ways to fill a model."""
    full, model = folder / "fp32.safetensors", ut.load(files["format 1, keep 0.5"], network())
    safetensors.torch.save_model(model, str(full))
    for name, path in {"fp32": full, **files}.items():
        print(f"{name:20} {path.stat().st_size / 1e6:8.2f} MB")
    tensors = list(model.state_dict().values())

    def fill() -> None:
        for tensor in tensors:
            tensor.fill_(1)

    return {
        "load_file and load_state_dict": lambda: model.load_state_dict(safetensors.torch.load_file(full)),
        "safetensors' load_model": lambda: safetensors.torch.load_model(model, full),
        **{f"untrained: {name}": partial(ut.load, path, model) for name, path in files.items()},
        **{f"untrained, no kernels: {name}": partial(plainly, path, model) for name, path in files.items()},
        "floor: fill the model's memory": fill,
    }


def main(folder: Path) -> None:
    files, saves = {}, {}
    for keep in KEEPS:
        found = ticket(keep)
        for kind in (1, 2):
            name = f"format {kind}, keep {keep}"
            files[name], saves[name] = folder / f"{kind}-{keep}.ticket", partial(found.to_bytes, kind)
            files[name].write_bytes(saves[name]())
    ways = loads(files, folder)
    short = {name: way for name, way in ways.items() if "no kernels" not in name}
    whole, first = "load_file and load_state_dict", "format 1, keep 0.5"
    tables = {}
    for clock, threads, title in ((time.process_time, 1, "CPU time"), (time.perf_counter, THREADS, "wall time")):
        torch.set_num_threads(threads)
        on = f"{title}, {threads} thread{'s' if threads > 1 else ''}"
        its = ways if clock is time.process_time else short
        tables[f"ResNet-50 from a file in the page cache, {on}"] = interleave(
            its, reference=whole, rounds=ROUNDS, clock=clock
        )
        tables[f"Bytes of a ResNet-50's ticket, {on}"] = interleave(saves, reference=first, rounds=SAVES, clock=clock)
    report("load", tables)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
