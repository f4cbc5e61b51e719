"""The learning of a stream that does not say which task a batch belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, final

import torch.nn.functional as F
from torch import Tensor, nn

from untrained.bank.infer import infer
from untrained.bank.live import Live
from untrained.bank.superposition import Superposition, read_logits
from untrained.bank.task import Task
from untrained.masking.advance import advance_, move_, penalty
from untrained.masking.mask import record
from untrained.methods.base import Method
from untrained.methods.recipe import WEIGHTS
from untrained.optim import for_scores
from untrained.tickets.ticket import Ticket


@final
class _Search:
    """Search for the task of a stream: so many steps at most, by the recipe of each method."""

    def __init__(self, name: str, model: nn.Module, steps: int) -> None:
        self.name, self.model, self.steps, self.step = name, model, steps, 0
        learn = [group for group in record(model).groups if group.planned.learns]
        self._learners = [
            (group.planned.recipe, for_scores([state.scores for state in group.states], group.planned.recipe))
            for group in learn
        ]
        if trained := [p for name, p in model.named_parameters() if name in record(model).trained and p.requires_grad]:
            self._learners.append((WEIGHTS, WEIGHTS.build(trained)))

    def learn(self, x: Tensor, y: Tensor) -> None:
        """Make a step, if any are left.

        Raises:
            ValueError: the loss is not finite.
        """
        if self.step == self.steps or not self._learners:
            return
        logits = read_logits(self.model.train(), x)
        loss = F.cross_entropy(logits, y, label_smoothing=self._learners[0][0].label_smoothing)
        price = penalty(self.model)
        loss = loss if price is None else loss + price
        if not loss.isfinite():
            raise ValueError(f"the loss of {self.name!r} must be finite, got {loss.item()} at step {self.step + 1}")
        loss.backward()
        for recipe, optimizer in self._learners:
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(0, self.step, self.steps, 1)
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        advance_(self.model, self.step, self.steps)

    def task(self) -> Task:
        return Task.of(self.name, Ticket.of(self.model.eval()))

    def finished(self) -> nn.Module:
        """Return the network, chosen by the method as it is when a search ends."""
        move_(self.model, self.steps, self.steps)
        return self.model.eval()


class Tasks(Protocol):
    """Bank as a stream sees it."""

    @property
    def tasks(self) -> list[Task]: ...

    def masked(self, method: Method | Mapping[str, Method], **options: Any) -> nn.Module: ...

    def add(self, name: str, found: nn.Module) -> None: ...


def learn(
    live: Live,
    batches: Iterable[tuple[Tensor, Tensor]],
    bank: Tasks,
    method: Method | Mapping[str, Method],
    *,
    every: int = 100,
    steps: int = 1000,
    unknown: float = 0.3,
    **options: Any,
) -> list[str]:
    """Learn a stream that does not say which task a batch belongs to, and return the name of each batch's task.

    Every so many batches the test of `which` finds the task in search, or a known one, which is left as it is; or none:
    a new task begins. A task is added when it is left and when the stream ends; what was added stays if it is stopped.

    Args:
        every: batches from one test to the next.
        steps: of the search for a task; after them it only answers.
        unknown: as in `which`; higher values begin more tasks.
        options: as in `Bank.masked`.

    Source: Wortsman et al. 2020, section 3.4 ("NNs").
    """
    for name, number in {"every": every, "steps": steps}.items():
        if type(number) is not int or number < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, got {number!r}")
    network, device = Superposition(live), next(iter(live.held.values())).device
    given: list[str] = []
    search: _Search | None = None
    for number, (inputs, labels) in enumerate(batches):
        x, y = inputs.to(device), labels.to(device)
        if number % every == 0:
            candidates = [*bank.tasks, *([search.task()] if search else [])]
            name = _recognise(network, candidates, x, unknown)
            if search is not None and name != search.name:
                bank.add(search.name, search.finished())
                search = None
            if name is None:
                name = _next_name([task.name for task in bank.tasks])
                search = _Search(name, bank.masked(method, **options).to(device), steps)
        if search is not None:
            search.learn(x, y)
        given.append(name)  # pyright: ignore[reportPossiblyUnboundVariable]  the first batch gives one
    if search is not None:
        bank.add(search.name, search.finished())
    return given


def _recognise(network: Superposition, tasks: Sequence[Task], x: Tensor, unknown: float) -> str | None:
    if not tasks:
        return None
    found = infer(network, tasks, x, "gradient", "entropy", "batch", unknown).task
    assert not isinstance(found, list)
    return found


def _next_name(names: Sequence[str]) -> str:
    number = len(names) + 1
    while f"task {number}" in names:
        number += 1
    return f"task {number}"
