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

from untrained.data.dataset import DataSet, without_place
from untrained.data.own import BatchData, Data
from untrained.experiments.by_name import law_of
from untrained.experiments.choices import function_of
from untrained.experiments.objects import NOTHING, Objects
from untrained.experiments.own_loop import run
from untrained.files import atomic_write
from untrained.masking.densities import balanced, erk
from untrained.masking.last import last as with_last
from untrained.masking.mask import is_masked, mask_, masks
from untrained.methods.base import Method
from untrained.methods.recipe import WEIGHTS, WEIGHTS_UNDER_NORMS, Recipe
from untrained.models import NETWORKS, build
from untrained.models.brought import KEY, Brought
from untrained.opponents import OPPONENTS, Opponent
from untrained.opponents.compressed import Compressed, shrink_
from untrained.opponents.course import Course, start_
from untrained.own_code import is_code
from untrained.runs.run import Row, write_answers
from untrained.runs.settings import Setup
from untrained.runs.table import TWIN
from untrained.search.calibration import calibrate_
from untrained.search.evaluation import collect_answers, measure, set_mode
from untrained.search.fit import fit
from untrained.search.history import Epoch, History
from untrained.search.labels import compute_outputs, outputs_of
from untrained.search.measures import Accuracy
from untrained.search.metric import ACCURACY
from untrained.search.objective import Objective
from untrained.search.recipes import find_recipes
from untrained.search.run_files import COMPRESSED, TICKET
from untrained.tickets.ticket import Ticket
from untrained.weights.laws import WeightLaw

_EVALUATION_BATCH = 500
_DENSITIES = {"balanced": balanced, "erk": erk}
_CALIBRATION_BATCH = 256
_CALIBRATION_BATCHES = 50
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
        objects: what the names of setup stand for.
    """

    setup: Setup
    data: Data
    device: torch.device
    seed: int
    quiet: bool = False
    objects: Objects = NOTHING

    @functools.cached_property
    def brought(self) -> Brought | None:
        """The network that the user brings, imported once for all networks of this workbench."""
        return self.objects.network(self.setup.model)

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
        x, y = (part[:2].cpu() for part in next(iter(self.data.batches("val", 2))))
        pretrained, free = self.setup.pretrained, isinstance(self.data, BatchData)
        accept = functools.partial(self._accept, x, y) if free else None
        its: dict[str, Any] = {"seed": self.seed, "pretrained": pretrained, "accept": accept}
        return self.brought.build(self.data.shape, self.data.classes, x, **its).to(self.device)

    @functools.cached_property
    def choices(self) -> dict[str, Any]:
        """The loss and the metric for `fit`: names, functions of the user, or None."""
        own = self.objects.choices
        return {name: own.get(name) or function_of(getattr(self.setup, name)) for name in ("loss", "metric")}

    @functools.cached_property
    def objective(self) -> Objective:
        """The loss and the metric, decided by the outputs for a batch where the setup names none."""
        asked = Objective.of(**self.choices)
        if isinstance(self.data, DataSet) and self.setup.loss is self.setup.metric is None:
            return replace(asked, form="classes", measure=Accuracy())
        x, y = next(iter(self.batches("val")))
        network = self.network()
        with torch.no_grad(), set_mode(network, training=False):
            return asked.settle(x, compute_outputs(network, x.to(self.device)), y.to(self.device))

    def _accept(self, x: Tensor, y: Tensor, outputs: Any) -> None:
        """Raise a ValueError if the outputs do not fit the labels."""
        outputs = outputs_of(outputs)
        settled = Objective.of(**self.choices).settle(x, outputs, y)
        settled.state(settled.match(outputs, y))

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
        measured = self._measure(network, "test"), self._measure(network, "val")
        size = len(Ticket.of(network, self._make_meta(*measured)).to_bytes())
        return self._make_row(name, network, size, None, *measured)

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
        return self._finish(network, name, folder, sum(history.column("seconds"))), history

    def search_by(
        self, loop: Callable[..., Any], network: nn.Module, name: str, folder: Path, *, resume: bool
    ) -> tuple[Row, int | None]:
        """Search by a loop of the user as `search` does; return its passes over the training data, too, if known."""
        recipes = dict(find_recipes("paper" if self.setup.recipe == "paper" else None, network))
        offered = self._options(folder) | self.choices | {
            "val": self.batches("val"), "recipe": recipes, "meta": self._make_meta(), "resume": resume, "title": None,
            "method": name, "settings": self.setup,
        }  # fmt: skip
        network, seconds, passes = run(loop, network, self.batches("train"), self.seed, offered)
        return self._finish(network.to(self.device), name, folder, seconds), passes

    def _finish(self, network: nn.Module, name: str, folder: Path, seconds: float) -> Row:
        """Measure a network that was searched; write its answers and its ticket."""
        self.calibrate(network)
        test: float | None = None
        if isinstance(self.data, DataSet) and self.objective.form == "classes":
            answers = collect_answers(network, self.batches("test"), amp=self.setup.amp)
            write_answers(folder, answers, self.data.test)
            test = answers.accuracy if self.objective.metric == ACCURACY else None
        measured = self._measure(network, "test") if test is None else test, self._measure(network, "val")
        Ticket.of(network, self._make_meta(*measured)).save(folder / TICKET)
        return self._make_row(name, network, (folder / TICKET).stat().st_size, seconds, *measured)

    def train_twin(self, folder: Path, *, resume: bool) -> Row:
        """Train the weights of the same network, from torch's initial weights or those that its code gives."""
        twin = start_(self.network(), self.seed)
        history = self._learn(twin, folder, TWIN, resume, recipe=self._weights_recipe)
        self.calibrate(twin)
        size = len(safetensors.torch.save({name: tensor.contiguous() for name, tensor in _drop_ties(twin).items()}))
        seconds = sum(history.column("seconds"))
        return self._make_row(TWIN, twin, size, seconds, self._measure(twin, "test"), self._measure(twin, "val"))

    @property
    def _weights_recipe(self) -> Recipe:
        return WEIGHTS if self.setup.norm is None else WEIGHTS_UNDER_NORMS

    def calibrate(self, network: nn.Module) -> None:
        """Take the statistics of all norms anew, before measuring: in one byte each where the setup asks for norms.

        The images are the first 12,800 of an order that the seed gives, as they are evaluated: not augmented. Found
        networks, twins and opponents are treated alike; a network without norms stays as it is.
        """
        dtype = torch.float16 if self.setup.norm is None else torch.float8_e4m3fn
        if isinstance(self.data, BatchData):
            with torch.random.fork_rng(devices=[]):  # the order may be drawn
                torch.manual_seed(self.seed)
                calibrate_(network, islice(self.data.train, _CALIBRATION_BATCHES), dtype=dtype)
            return
        images = min(len(self.data.train), _CALIBRATION_IMAGES)
        size = -(-images // -(-images // _CALIBRATION_BATCH))  # of batches as equal as they can be
        plain = replace(self.data, augment=False).batches("train", size, seed=self.seed, device=self.device)
        calibrate_(network, islice(plain, -(-images // size)), dtype=dtype)

    def train_opponent(self, opponent: Opponent, name: str, folder: Path) -> Row:
        """Train an opponent, write its file, and measure what is read back; an interrupted training resumes."""
        batches = self.batches("train"), self.batches("val")
        budget = self.setup.epochs, self.seed, folder, self.setup.amp, self._weights_recipe, self.choices
        course = Course(self.network, *batches, *budget)
        trained, seconds = opponent.train(course)
        coded = shrink_(trained, opponent)
        self.calibrate(trained)
        path = folder / COMPRESSED
        with atomic_write(path) as unfinished:
            unfinished.write_bytes(Compressed.of(trained, coded, opponent, self._make_meta()).to_bytes())
        fresh = None if self.brought is None else self.network().cpu()
        shipped = Compressed.load(path, fresh).network(fresh).to(self.device)
        measured = self._measure(shipped, "test"), self._measure(shipped, "val")
        total = sum(parameter.numel() for parameter in shipped.parameters())
        kept = sum(int(parameter.count_nonzero()) for parameter in shipped.parameters())
        return self._row(name, *measured, weights=total, kept=kept, file_bytes=path.stat().st_size, seconds=seconds)

    def _measure(self, network: nn.Module, part: Literal["val", "test"]) -> float:
        return measure(network, self.batches(part), self.objective, self.setup.amp).value

    def _row(self, name: str, test: float, val: float, **its: Any) -> Row:
        """Return the row of a network with its metric."""
        if self.objective.metric == ACCURACY:
            return Row(name, test, val, **its)
        return Row(name, math.nan, math.nan, **its, metric=self.objective.metric, value=test, val_value=val)

    def _make_row(self, name: str, network: nn.Module, size: int, seconds: float | None, *measured: float) -> Row:
        if is_masked(network):
            chosen = masks(network).values()
            weights, kept = sum(mask.numel() for mask in chosen), sum(int(mask.sum()) for mask in chosen)
        else:
            weights = kept = sum(parameter.numel() for parameter in network.parameters())
        return self._row(name, *measured, weights=weights, kept=kept, file_bytes=size, seconds=seconds)

    def _learn(self, network: nn.Module, folder: Path, title: str, resume: bool, **options: Any) -> History:
        options |= self._options(folder)
        title_shown = None if self.quiet else title
        batches = self.batches("train"), self.batches("val")
        return fit(network, *batches, resume=resume, title=title_shown, **options, **self.choices)

    def _options(self, folder: Path) -> dict[str, Any]:
        return {"epochs": self.setup.epochs, "amp": self.setup.amp, "seed": self.seed, "out": folder}

    def _make_meta(self, test: float | None = None, val: float | None = None) -> dict[str, Any]:
        """Return the ticket's `meta`, with all facts for an evaluation."""
        measured = {} if test is None else self.objective.metric.facts(test, val)
        measured |= self.objective.facts()
        own = {} if self.brought is None else {KEY: self.brought.describe(self.data.shape, self.data.classes)}
        if isinstance(self.data, BatchData):
            return {**measured, **self.data.meta, "data": self.data.name, "shape": list(self.data.shape), **own}
        lists = {name: list(getattr(self.data, name)) for name in ("labels", "shape", "mean", "std")}
        task = {"task": "classification"} if self.objective.form == "classes" else {}
        return {**measured, **task, "data": without_place(self.data.name), **lists, **own}


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


def _drop_ties(network: nn.Module) -> dict[str, Tensor]:
    """Return each tensor of the state once, even if it has several names."""
    seen = {tensor.data_ptr(): name for name, tensor in reversed(network.state_dict().items()) if tensor.numel()}
    return {
        name: tensor for name, tensor in network.state_dict().items() if name in seen.values() or not tensor.numel()
    }
