"""One search from beginning to end, beside the three networks that it has to be compared with."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import safetensors.torch
import torch
from torch import nn

from untrained import plot
from untrained.attach import mask_, masks, record
from untrained.checkpoint import holds_run
from untrained.data import DataSet, load_data
from untrained.evaluation import calibrate_, evaluate
from untrained.files import written_whole
from untrained.methods import METHODS, Dense, Method, RandomSubnetwork
from untrained.models import build
from untrained.search import History, fit
from untrained.settings import Settings
from untrained.ticket import Ticket

_EVALUATION_BATCH = 500
_FREE_TO_CHANGE = {"device", "twin", "data-dir"}


@final
@dataclass(frozen=True)
class Row:
    """One network of the comparison.

    Attributes:
        name: what it is.
        accuracy: on the test data, 0..1.
        val_accuracy: on the validation data, 0..1.
        kept: number of weights that are not zero.
        file_bytes: bytes to ship it.
        seconds: what its epochs took, those before a resume included; None when nothing had to be done.
    """

    name: str
    accuracy: float
    val_accuracy: float
    kept: int
    file_bytes: int
    seconds: float | None


@final
@dataclass(frozen=True)
class Found:
    """What `find` found.

    Attributes:
        rows: the random network, a random subnetwork, the found subnetwork, and the trained twin unless left out.
        history: the search, epoch by epoch.
        folder: where everything was written.
        ticket: the found network's file.
        cut: masked tensors of which nothing at all is kept, so that nothing passes through them.
        picture: the picture, or None when matplotlib is not installed.
    """

    rows: tuple[Row, ...]
    history: History
    folder: Path
    ticket: Path
    cut: tuple[str, ...]
    picture: Path | None


def find(settings: Settings | None = None, **changes: Any) -> Found:
    """Find a subnetwork, compare it with its baselines, and write ticket, metrics, settings and picture.

    Validation data draws the curves; the test data is looked at once, for the table. A run that was interrupted
    leaves a checkpoint and a ticket, and goes on with `resume=True`.

    Args:
        settings: what to do.
        changes: fields of `Settings` to change, such as `keep=0.3`.

    Raises:
        ValueError: a setting is out of range, or the folder holds another run.
        FileNotFoundError, ConnectionError, ImportError: the data set is not to be had.
        KeyboardInterrupt: after Ctrl-C; it says how to go on.
    """
    settings = replace(settings or Settings(), **changes)
    data = load_data(settings.data, settings.data_dir, size=settings.size)
    method = METHODS[settings.method](keep=settings.keep, scope=settings.scope)  # pyright: ignore[reportCallIssue]
    lab = _Lab(settings, data, _device(settings.device))
    network = lab.network()
    folder = _folder(settings)

    rows = [lab.baseline("random network", Dense())]
    rows.append(lab.baseline("random subnetwork", RandomSubnetwork(settings.keep)))
    folder.mkdir(parents=True, exist_ok=True)
    if not holds_run(folder):
        with written_whole(folder / "config.toml") as unfinished:
            unfinished.write_text(settings.to_toml())
    mask_(network, method, seed=settings.seed)
    twin_history = None
    try:
        found, history = lab.search(network, folder)
        rows.append(found)
        if settings.twin:
            twin, twin_history = lab.train_twin(folder / "twin")
            rows.append(twin)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; go on with: untrained find --out {folder} --resume") from None
    picture = lab.draw(folder, network, rows, history, twin_history) if plot.available() else None
    cut = tuple(name for name, mask in masks(network).items() if not mask.any())
    return Found(tuple(rows), history, folder, folder / "found.ticket", cut, picture)


@final
@dataclass(frozen=True)
class _Lab:
    """What all networks of one comparison share."""

    settings: Settings
    data: DataSet
    device: torch.device

    def network(self) -> nn.Module:
        chosen: dict[str, Any] = {"shape": self.data.shape, "classes": self.data.classes}
        for name in ("width", "widths"):
            if (value := getattr(self.settings, name)) is not None:
                chosen[name] = value
        return build(self.settings.model, **chosen).to(self.device)

    def batches(self, part: Any) -> Any:
        size = self.settings.batch_size if part == "train" else _EVALUATION_BATCH
        return self.data.batches(part, size, seed=self.settings.seed, device=self.device)

    def measure(self, network: nn.Module) -> tuple[float, float]:
        """(test accuracy, validation accuracy)."""
        test, val = (evaluate(network, self.batches(part), amp=self.settings.amp) for part in ("test", "val"))
        return test.accuracy, val.accuracy

    def baseline(self, name: str, method: Method) -> Row:
        """A network that learns nothing but its running statistics."""
        network = calibrate_(mask_(self.network(), method, seed=self.settings.seed), self.batches("train"))
        return Row(name, *self.measure(network), _kept(network), len(Ticket.of(network).to_bytes()), None)

    def search(self, network: nn.Module, folder: Path) -> tuple[Row, History]:
        """Search the masked network, and keep what is found as a ticket that says how good it is."""
        facts = self.facts()
        recipe = "paper" if self.settings.recipe == "paper" else None
        history = self.learn(network, folder, "search", recipe=recipe, meta=facts)
        accuracy, val_accuracy = self.measure(network)
        path = folder / "found.ticket"
        Ticket.of(network, {**facts, "accuracy": accuracy, "val_accuracy": val_accuracy}).save(path)
        size = path.stat().st_size
        return Row("found subnetwork", accuracy, val_accuracy, _kept(network), size, _seconds(history)), history

    def train_twin(self, folder: Path) -> tuple[Row, History]:
        """Train the weights of the same network, from torch's own initial ones."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            twin = self.network()
        history = self.learn(twin, folder, "twin")
        state = {name: tensor.contiguous() for name, tensor in twin.state_dict().items()}
        weights, size = sum(p.numel() for p in twin.parameters()), len(safetensors.torch.save(state))
        return Row("trained twin", *self.measure(twin), weights, size, _seconds(history)), history

    def draw(
        self, folder: Path, network: nn.Module, rows: Sequence[Row], history: History, twin_history: History | None
    ) -> Path:
        """The picture of the run."""
        settings, first = self.settings, record(network).states[0]
        picture = folder / "picture.png"
        with written_whole(picture) as unfinished, torch.no_grad():
            plot.draw_search(
                unfinished,
                title=f"{settings.model} on {settings.data}, {settings.method}, keep {settings.keep:g}",
                found=history,
                twin=twin_history,
                baselines={row.name: row.val_accuracy for row in rows[:2]},
                kept={name: float(mask.float().mean()) for name, mask in masks(network).items()},
                before=first.frozen.cpu(),
                after=first.effective().cpu(),
                shape=self.data.shape,
            )
        return picture

    def learn(
        self,
        network: nn.Module,
        folder: Path,
        title: str,
        *,
        recipe: Literal["paper"] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> History:
        return fit(
            network,
            self.batches("train"),
            self.batches("val"),
            epochs=self.settings.epochs,
            recipe=recipe,
            amp=self.settings.amp,
            seed=self.settings.seed,
            out=folder,
            resume=self.settings.resume,
            meta=meta,
            title=title,
        )

    def facts(self) -> dict[str, Any]:
        """What the ticket's `meta` says, so that it can be evaluated without anything else."""
        data = self.data
        return {
            "task": "classification",
            "data": data.name,
            "labels": list(data.labels),
            "shape": list(data.shape),
            "mean": list(data.mean),
            "std": list(data.std),
        }


def _device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _folder(settings: Settings) -> Path:
    """Where the run goes; refuses to touch a run that is not this one."""
    if settings.out is None:
        if settings.resume:
            raise ValueError("--resume needs --out, the folder of the run to go on with")
        name = f"{settings.model}-{Path(settings.data).name}-{settings.method}-{settings.keep:g}-seed{settings.seed}"
        folder, number = Path("runs") / name, 2
        while folder.exists():
            folder, number = Path("runs") / f"{name}-{number}", number + 1
        return folder
    folder = settings.out
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--out: {folder} is a file, not a folder")
    if holds_run(folder):
        if not settings.resume:
            raise ValueError(f"{folder} holds a run already; pass --resume to go on with it, or another --out")
        _refuse_other_settings(settings, folder / "config.toml")
    elif settings.resume:
        raise ValueError(f"there is nothing to resume in {folder}: no epoch was finished there")
    return folder


def _refuse_other_settings(settings: Settings, path: Path) -> None:
    then = tomllib.loads(path.read_text()) if path.exists() else {}
    now = tomllib.loads(settings.to_toml())
    for name in sorted((then.keys() | now.keys()) - _FREE_TO_CHANGE):
        if then.get(name) != now.get(name):
            raise ValueError(
                f"the run in {path.parent} has {name} = {then.get(name)}, not {now.get(name)}; "
                "resume it with its own settings, or start another with another --out"
            )


def _seconds(history: History) -> float:
    return sum(history.column("seconds"))


def _kept(network: nn.Module) -> int:
    return sum(int(mask.sum()) for mask in masks(network).values())
