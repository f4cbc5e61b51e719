"""Recognition of tasks: the part of a bank that is not told which task its inputs belong to."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from untrained.bank.infer import How, Inferred, infer
from untrained.bank.learn import learn
from untrained.bank.live import Live
from untrained.bank.superposition import Superposition
from untrained.bank.task import Task
from untrained.methods.base import Method
from untrained.tickets.ticket import Ticket


class Recognition(ABC):
    """Abstract base of a bank, which infers the task of inputs and of a stream."""

    _live: Live
    _lock: threading.RLock  # pyright: ignore[reportInvalidTypeForm]  a class since Python 3.13
    _superposition: Superposition | None = None

    @property
    @abstractmethod
    def tasks(self) -> list[Task]: ...

    @abstractmethod
    def task(self, name: str) -> Task: ...

    @abstractmethod
    def masked(self, method: Method | Mapping[str, Method], **options: Any) -> nn.Module: ...

    @abstractmethod
    def add(self, name: str, found: nn.Module | Ticket, meta: Mapping[str, Any] | None = None) -> None: ...

    def which(
        self,
        x: Tensor,
        how: How | None = None,
        *,
        objective: Literal["entropy", "superfluous"] = "entropy",
        per: Literal["batch", "row"] = "batch",
        among: Sequence[str] | None = None,
        unknown: float | None = None,
    ) -> Inferred:
        """Infer the task that inputs belong to; the live network is left as it is.

        Args:
            x: the inputs, rows first.
            how: "statistics": the nearest stored mean of the first batch norm, in standard deviations; "gradient":
                -∂H/∂αᵢ at W ⊙ Σᵢ αᵢ mᵢ, αᵢ = 1/T, H being the entropy; "binary": by it half of the tasks, ⌈log₂ T⌉
                times; "each": every task's own entropy, for single rows and for heads of several sizes. None: "each"
                below 16 rows, "statistics" where the tasks have such, else "gradient".
            objective: "superfluous": G = log Σ exp of the outputs instead, those of the labels being constants.
            per: the task of the "batch", or of each "row".
            among: the names of the tasks in question; None: all.
            unknown: ε: no task where T · max softmax(-∂H/∂α) < 1 + ε; by "statistics" where the nearest of n rows is
                farther than (1 + ε)/√n, as n rows of a task are 1/√n away.

        Raises:
            ValueError: there are no tasks or rows, outputs are no finite logits, heads differ in size, no output is
                superfluous, or an argument is unknown.

        Source: Wortsman et al. 2020, sections 3.3 to 3.5; "statistics" is our own.
        """
        with self._lock, torch.inference_mode(False):
            tasks = self.tasks if among is None else [self.task(name) for name in dict.fromkeys(among)]
            if self._superposition is None or not self._superposition.fits(self._live):
                self._superposition = Superposition(self._live)
            return infer(self._superposition, tasks, x, how, objective, per, unknown)

    def learn(
        self, batches: Iterable[tuple[Tensor, Tensor]], method: Method | Mapping[str, Method], **options: Any
    ) -> list[str]:
        """Learn a stream without task labels by a method; return the name of each batch's task, "task 1" and on.

        Args:
            batches: pairs (inputs, labels).
            method: as in `masked`.
            options: `every`, `steps` and `unknown` as in `untrained.bank.learn.learn`; others as in `masked`.
        """
        return learn(self._live, batches, self, method, **options)
