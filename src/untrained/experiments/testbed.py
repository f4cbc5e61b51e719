"""Workbench of a comparison: the same data, network, seed and number of epochs for all searches."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, final

import safetensors.torch
import torch
from torch import Tensor, nn

from untrained.data.dataset import DataSet
from untrained.experiments.by_name import law_of
from untrained.files import atomic_write
from untrained.masking.densities import balanced, erk
from untrained.masking.last import last as with_last
from untrained.masking.mask import is_masked, mask_, masks
from untrained.methods.base import Method
from untrained.methods.recipe import WEIGHTS, WEIGHTS_UNDER_NORMS, Recipe
from untrained.models import NETWORKS, build
from untrained.models.brought import KEY, Brought
from untrained.models.own import brought
from untrained.opponents import OPPONENTS, Opponent
from untrained.opponents.compressed import Compressed, shrink_
from untrained.opponents.course import Course, start_
from untrained.own_code import is_code
from untrained.runs.run import Row, write_answers
from untrained.runs.settings import Setup
from untrained.runs.table import TWIN
from untrained.search.calibration import calibrate_
from untrained.search.evaluation import collect_answers, evaluate
from untrained.search.fit import fit
from untrained.search.history import Epoch, History
from untrained.search.recipes import find_recipes
from untrained.search.run_files import COMPRESSED, TICKET
from untrained.tickets.ticket import Ticket
from untrained.weights.laws import WeightLaw

_EVALUATION_BATCH = 500
_DENSITIES = {"balanced": balanced, "erk": erk}
_CALIBRATION_BATCH = 256
_CALIBRATION_IMAGES = 50 * _CALIBRATION_BATCH
SetupT = TypeVar("SetupT", bound=Setup)


@final
@dataclass(frozen=True)
class Workbench:
    """Network, data, budget and seed that all networks of one comparison share.

    Attributes:
        setup: network, budget and recipe.
        data: the data set.
        device: the device of the network.
        seed: seed of the weights, the first scores and the order of the images.
        quiet: show no progress.
    """

    setup: Setup
    data: DataSet
    device: torch.device
    seed: int
    quiet: bool = False

    @functools.cached_property
    def brought(self) -> Brought | None:
        """The network that the user brings, imported once for all networks of this workbench."""
        return brought(self.setup.model)

    def network(self, wider: float = 1.0) -> nn.Module:
        """Return the network, not masked yet, `wider` times as wide."""
        setup = scaled(self.setup, wider)
        chosen: dict[str, Any] = {}
        unless = {"width": None, "widths": None, "activation": "relu", "norm": None, "folded": False}
        for name, default in unless.items():
            if (value := getattr(setup, name)) != default:
                chosen[name] = value
        if self.brought is None:
            if self.setup.pretrained:
                raise ValueError(f"--pretrained: {setup.model} has no weights of its own, as a --model of yours may")
            return build(setup.model, shape=self.data.shape, classes=self.data.classes, **chosen).to(self.device)
        if chosen:
            first = next(iter(chosen))
            raise ValueError(f"--{first} is for the networks of untrained.models: give yours its own in brackets")
        example, options = next(iter(self.data.batches("val", 2)))[0], {"pretrained": self.setup.pretrained}
        made = self.brought.build(self.data.shape, self.data.classes, example, seed=self.seed, **options)
        return made.to(self.device)

    def law(self, method: Method) -> WeightLaw | None:
        """Return the law of the frozen weights for a method: that of the setup, or the one recommended for it.

        It is None for pretrained weights.
        """
        if self.setup.pretrained:
            return None
        if self.setup.weights != "recommended":
            return law_of(self.setup.weights)
        papers = method.paper.weights if self.setup.recipe == "paper" and method.paper is not None else None
        return papers or method.law

    def masked(self, method: Method, last: Method | None = None) -> nn.Module:
        """Return the network, masked as the setup demands; `last` is the method of the last layer, without its law.

        Raises:
            ValueError: the network has no clear last layer; and as `mask_`.
        """
        network = self.network()
        if self.setup.densities in _DENSITIES and method.takes_keep:
            by_tensor = _DENSITIES[self.setup.densities](network, method, last)
        else:
            by_tensor = method if last is None else with_last(network, method, last)
        return mask_(network, by_tensor, seed=self.seed, weights=self.law(method))

    def batches(self, part: Literal["train", "val", "test"]) -> Any:
        """Return batches of a part of the data."""
        size = self.setup.batch_size if part == "train" else _EVALUATION_BATCH
        return self.data.batches(part, size, seed=self.seed, device=self.device)

    def baseline(self, name: str, method: Method, last: Method | None = None) -> Row:
        """Measure a network of which only the running statistics are learned."""
        network = self.masked(method, last)
        self.calibrate(network)
        measured = self._accuracy(network, "test"), self._accuracy(network, "val")
        size = len(Ticket.of(network, self._make_meta(*measured)).to_bytes())
        return _make_row(name, network, size, None, measured)

    def search(
        self,
        network: nn.Module,
        name: str,
        folder: Path,
        *,
        resume: bool,
        last: Method | None = None,
        lr: float | None = None,
        on_epoch: Callable[[Epoch], None] | None = None,
    ) -> tuple[Row, History]:
        """Search the masked network; write its answers, and its ticket with its accuracy.

        `lr` is the rate of all methods but `last`, that of the last layer.
        """
        recipes = dict(find_recipes("paper" if self.setup.recipe == "paper" else None, network))
        if lr is not None:
            for method in [method for method in recipes if method != last] or list(recipes):
                recipes[method] = replace(recipes[method], lr=lr)
        history = self._learn(network, folder, name, resume, recipe=recipes, meta=self._make_meta(), on_epoch=on_epoch)
        self.calibrate(network)
        answers = collect_answers(network, self.batches("test"), amp=self.setup.amp)
        write_answers(folder, answers, self.data.test)
        measured = answers.accuracy, self._accuracy(network, "val")
        Ticket.of(network, self._make_meta(*measured)).save(folder / TICKET)
        return _make_row(name, network, (folder / TICKET).stat().st_size, history, measured), history

    def train_twin(self, folder: Path, *, resume: bool) -> Row:
        """Train the weights of the same network, from torch's initial weights or those that its code gives."""
        twin = start_(self.network(), self.seed)
        history = self._learn(twin, folder, TWIN, resume, recipe=self._weights_recipe)
        self.calibrate(twin)
        size = len(safetensors.torch.save({name: tensor.contiguous() for name, tensor in _drop_ties(twin).items()}))
        return _make_row(TWIN, twin, size, history, (self._accuracy(twin, "test"), self._accuracy(twin, "val")))

    @property
    def _weights_recipe(self) -> Recipe:
        return WEIGHTS if self.setup.norm is None else WEIGHTS_UNDER_NORMS

    def calibrate(self, network: nn.Module) -> None:
        """Take the statistics of all norms anew, before measuring: in one byte each where the setup asks for norms.

        The images are the first 12,800 of an order that the seed gives, as they are evaluated: not augmented. Found
        networks, twins and opponents are treated alike; a network without norms stays as it is.
        """
        dtype = torch.float16 if self.setup.norm is None else torch.float8_e4m3fn
        images = min(len(self.data.train), _CALIBRATION_IMAGES)
        size = -(-images // -(-images // _CALIBRATION_BATCH))  # of batches as equal as they can be
        plain = replace(self.data, augment=False).batches("train", size, seed=self.seed, device=self.device)
        calibrate_(network, islice(plain, -(-images // size)), dtype=dtype)

    def train_opponent(self, opponent: Opponent, name: str, folder: Path) -> Row:
        """Train an opponent, write its file, and measure what is read back; an interrupted training resumes."""
        batches = self.batches("train"), self.batches("val")
        budget = self.setup.epochs, self.seed, folder, self.setup.amp, self._weights_recipe
        course = Course(self.network, *batches, *budget)
        trained, seconds = opponent.train(course)
        coded = shrink_(trained, opponent)
        self.calibrate(trained)
        path = folder / COMPRESSED
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(Compressed.of(trained, coded, opponent, self._make_meta()).to_bytes())
        fresh = None if self.brought is None else self.network().cpu()
        shipped = Compressed.load(path, fresh).network(fresh).to(self.device)
        measured = self._accuracy(shipped, "test"), self._accuracy(shipped, "val")
        total = sum(parameter.numel() for parameter in shipped.parameters())
        kept = sum(int(parameter.count_nonzero()) for parameter in shipped.parameters())
        return Row(name, *measured, total, kept, path.stat().st_size, seconds)

    def _accuracy(self, network: nn.Module, part: Literal["val", "test"]) -> float:
        return evaluate(network, self.batches(part), amp=self.setup.amp).accuracy

    def _learn(self, network: nn.Module, folder: Path, title: str, resume: bool, **options: Any) -> History:
        options |= {"epochs": self.setup.epochs, "amp": self.setup.amp, "seed": self.seed, "out": folder}
        title_shown = None if self.quiet else title
        batches = self.batches("train"), self.batches("val")
        return fit(network, *batches, resume=resume, title=title_shown, **options)

    def _make_meta(self, accuracy: float | None = None, val_accuracy: float | None = None) -> dict[str, Any]:
        """Return the ticket's `meta`, with all facts for an evaluation."""
        measured = {} if accuracy is None else {"accuracy": accuracy, "val_accuracy": val_accuracy}
        lists = {name: list(getattr(self.data, name)) for name in ("labels", "shape", "mean", "std")}
        own = {} if self.brought is None else {KEY: self.brought.describe(self.data.shape, self.data.classes)}
        return {**measured, "task": "classification", "data": self.data.name, **lists, **own}


def scaled(setup: SetupT, factor: float) -> SetupT:
    """Return the settings of a network `factor` times as wide; for 1, exactly those of the network."""
    known = inspect.signature(NETWORKS[setup.model]).parameters if setup.model in NETWORKS else {}
    if factor != 1 and "widths" in known:
        own = known["widths"].default if setup.widths is None else setup.widths
        return replace(setup, widths=tuple(max(1, round(factor * width)) for width in own))
    return setup if factor == 1 else replace(setup, width=factor * (setup.width or 1))


def has_width(model: str) -> bool:
    """Return True if the network has units or channels to vary; also for an unknown name, which `build` refuses."""
    if is_code(model):
        return False
    return model not in NETWORKS or bool({"width", "widths"} & inspect.signature(NETWORKS[model]).parameters.keys())


def suits(opponent: Opponent, model: str) -> bool:
    """Return True if the network has a width, or the opponent changes none."""
    return getattr(opponent, "width", 1.0) == 1.0 or has_width(model)


def opponents_for(model: str) -> list[str]:
    """Return the names of the opponents that suit a network."""
    return [name for name, opponent in OPPONENTS.items() if suits(opponent(), model)]


def chance_of(data: DataSet) -> float:
    """Return the validation accuracy up to which a network has not learned.

    It is p + 3·√(p(1 − p)/n), p the share of the most frequent class in the n validation examples.
    """
    labels = data.val.labels
    share = float(torch.bincount(labels).max()) / len(labels)
    return share + 3 * math.sqrt(share * (1 - share) / len(labels))


def choose_device(name: str | None) -> torch.device:
    """Return the device; by default the GPU if there is one.

    Raises:
        ValueError: the device cannot be used.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        raise ValueError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from None
    return device


def _make_row(name: str, network: nn.Module, size: int, history: History | None, measured: tuple[float, float]) -> Row:
    if is_masked(network):
        chosen = masks(network).values()
        weights, kept = sum(mask.numel() for mask in chosen), sum(int(mask.sum()) for mask in chosen)
    else:
        weights = kept = sum(parameter.numel() for parameter in network.parameters())
    return Row(name, *measured, weights, kept, size, None if history is None else sum(history.column("seconds")))


def _drop_ties(network: nn.Module) -> dict[str, Tensor]:
    """Return each tensor of the state once, even if it has several names."""
    seen = {tensor.data_ptr(): name for name, tensor in reversed(network.state_dict().items()) if tensor.numel()}
    return {
        name: tensor for name, tensor in network.state_dict().items() if name in seen.values() or not tensor.numel()
    }
