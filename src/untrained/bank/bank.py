"""A bank: many tasks on one frozen network."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, final, overload

import torch
from torch import Tensor, nn

from untrained.bank import change, file
from untrained.bank.live import Live, join_conditions
from untrained.bank.merge import Calibrate, How, merge
from untrained.bank.overlap import Overlap, overlap_matrix, overlaps
from untrained.bank.recognition import Recognition
from untrained.bank.rows import gather
from untrained.bank.shared import Shared
from untrained.bank.start import start_at_mean_
from untrained.bank.summary import BankSummary
from untrained.bank.task import Task, check_name
from untrained.masking.mask import is_masked, mask_
from untrained.masking.plan import Where
from untrained.methods.base import Method
from untrained.models import Network
from untrained.packed.modules import pack_
from untrained.tickets.ticket import Ticket
from untrained.weights.laws import SignedConstant, WeightLaw, check_seed


@final
class Bank(Recognition):
    """Bank of tasks on one frozen network: a task is a mask, its own statistics and its own trained tensors.

    `use` writes W ⊙ m into the live network, always in the same memory. No task depends on the other tasks.

    Args:
        model: any plain nn.Module; the bank keeps it, frozen, in evaluation mode.
        seed: the seed of the frozen weights, 0 ≤ seed < 2⁶⁴.
        weights: their law, or None: those that the model has, pretrained ones.

    Raises:
        ValueError: the model is masked, or a seed is out of range.

    Example:
        >>> bank = ut.Bank(ut.models.fc((32,), shape=(1, 8, 8)))
        >>> for name in "digits", "letters":
        ...     bank.add(name, bank.masked(ut.RandomSubnetwork(keep=0.5)))
        >>> bank(torch.ones(2, 1, 8, 8), ["digits", "letters"]).shape, bank.names
        (torch.Size([2, 10]), ['digits', 'letters'])

    Source: Wortsman et al. 2020, "Supermasks in Superposition" (arXiv 2006.14769).
    """

    def __init__(self, model: nn.Module, seed: int = 0, *, weights: WeightLaw | None = SignedConstant()) -> None:  # noqa: B008  frozen
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be an nn.Module, got {type(model).__name__}")
        if any(is_masked(module) for module in model.modules()):
            raise ValueError("the model is masked; a bank needs a plain one, and gives masked ones by masked()")
        self._live = Live(model, check_seed(seed), weights)
        self._tasks: dict[str, Task] = {}
        self._packed: dict[str, nn.Module] = {}
        self._part_of: Path | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles hold: all but the packed networks, which are made again when asked for."""
        with self._lock:
            return {"_live": self._live, "_tasks": dict(self._tasks), "_part_of": self._part_of}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state, _packed={}, _lock=threading.RLock())

    @property
    def model(self) -> nn.Module:
        """The live network: the task that was used last."""
        return self._live.module

    @property
    def seed(self) -> int:
        """The seed of the frozen weights."""
        return self._live.seed

    @property
    def law(self) -> WeightLaw | None:
        """The law of the frozen weights; None: a pretrained network's own."""
        return self._live.law

    @property
    def _shared(self) -> Shared:
        return Shared.of(self.model, self.seed, self.law)

    @property
    def names(self) -> list[str]:
        """The names of the tasks, in the order in which they were added."""
        return list(self._tasks)

    @property
    def tasks(self) -> list[Task]:
        """The tasks, in the order in which they were added."""
        return list(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, name: object) -> bool:
        return name in self._tasks

    def __repr__(self) -> str:
        return f"Bank({type(self.model).__name__}, seed={self.seed}, {len(self)} tasks)"

    def task(self, name: str) -> Task:
        """Return a task.

        Raises:
            ValueError: there is none of this name.
        """
        if name not in self._tasks:
            listed = ", ".join(map(repr, self.names[:8])) + (", …" if len(self) > 8 else "")
            raise ValueError(f"the bank has no task {name!r}; it has {listed or 'none yet'}")
        return self._tasks[name]

    def masked(  # pyright: ignore[reportIncompatibleMethodOverride]  it names the options
        self,
        method: Method | Mapping[str, Method],
        *,
        where: Where | None = None,
        also_train: Where | None = None,
        heads: Mapping[str, int] | None = None,
        start: Literal["mean"] | None = None,
    ) -> nn.Module:
        """Return a masked network over the bank's frozen weights, to search a new task on.

        Args:
            method: as in `mask_`.
            where: as in `mask_`.
            also_train: as in `mask_`; such tensors belong to the task.
            heads: {name of a Linear layer: outputs}: the task's own layers, new and trained as usual.
            start: "mean": scores begin higher where more of the earlier tasks keep the weight.

        Raises:
            ValueError: as in `mask_`; a head is no Linear layer; or `start` has no tasks or scores to begin from.
        """
        digest = hashlib.sha256(f"heads/{self.seed}/{len(self)}".encode()).digest()
        with torch.random.fork_rng(devices=[]):  # new heads are drawn by torch
            torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
            model = self._live.fresh(heads)
        if heads and isinstance(model, Network):
            model.built_by = None  # pyright: ignore[reportAttributeAccessIssue]  it would build the old head
        own = [f"{path}.{leaf}" for path in heads or () for leaf, _ in model.get_submodule(path).named_parameters()]
        trained = join_conditions(own, also_train) if own else also_train
        mask_(model, method, seed=self.seed, weights=self.law, where=where, also_train=trained)
        if start is not None:
            start_at_mean_(model, self.tasks, start)
        return model

    def add(self, name: str, found: nn.Module | Ticket, meta: Mapping[str, Any] | None = None) -> None:
        """Add a task; the bank is unchanged if it does not fit.

        Args:
            name: 1 to 200 printable characters, not in use.
            found: a masked model, as `masked` gives, in its present state; or a ticket.
            meta: JSON-able facts, "labels" among them: the names of the classes.

        Raises:
            ValueError: the name is in use or no name; the seed, the law, a shape or a frozen weight is not the bank's.
        """
        self._check_new(name)
        if isinstance(found, Ticket):
            own = {each: tensor.clone() for each, tensor in found.extra.items()}  # the caller may change its tensors
            ticket = replace(found, extra=own, meta=dict(found.meta if meta is None else meta))
        else:
            ticket = Ticket.of(found, meta)
        self._insert(Task.of(name, self._checked(ticket)))

    def merge(self, name: str, tasks: Sequence[str], how: How = "union", *, calibrate: Calibrate | None = None) -> None:
        """Add a task whose masks are the union, the intersection or the majority (more than half) of several tasks'.

        A merged mask's method is EdgePopup with its `keep`; tensors of the tasks' own become means (whole numbers: the
        largest); facts that all share stay, but not the accuracy. Statistics of other masks do not suit a merged one:
        `calibrate` gets the merged network, and its own tensors stay as they are left there, as by
        `lambda model: ut.calibrate_(model, batches)`.

        Raises:
            ValueError: heads differ in size, no weight would be kept, or a tensor is no mask and not equal in all.
        """
        self._check_new(name)
        self._insert(Task.of(name, merge(self._live, [self.task(each) for each in tasks], how, calibrate)))

    @overload
    def overlap(self) -> Tensor: ...
    @overload
    def overlap(self, first: str, second: str) -> dict[str, Overlap]: ...
    def overlap(self, first: str | None = None, second: str | None = None) -> Tensor | dict[str, Overlap]:
        """Return the overlap of all pairs of tasks, float64 (T, T), or of two tasks tensor by tensor.

            share = |A ∩ B| / |A ∪ B|,   chance = ka·kb / (ka + kb - ka·kb),   k the share of the weights kept

        It is over all weights that both mask, NaN where there are none. Searches that start from equal first scores
        overlap by more than chance even where tasks have nothing in common.
        """
        if first is None and second is None:
            return overlap_matrix(self.tasks)[0]
        if first is None or second is None:
            raise ValueError("overlap needs the names of two tasks, or none")
        return overlaps(self.task(first), self.task(second))

    def summary(self) -> BankSummary:
        """Return what each task keeps and costs, beside models of their own and adapters; to be printed."""
        return BankSummary.of(self.tasks)

    def remove(self, name: str) -> None:
        """Remove a task.

        Raises:
            ValueError: there is none of this name.
        """
        self.task(name)
        with self._lock:
            del self._tasks[name]
            self._packed.pop(name, None)

    def ticket(self, name: str) -> Ticket:
        """Return a task as a ticket, which loads without the bank."""
        return self.task(name).ticket()

    def save(self, path: str | Path) -> None:
        """Write the bank into a file, whole or not at all, even if the process is killed.

        The same tasks in the same order give the same bytes. Where the file holds the first of these tasks already,
        only the others are written, behind them.

        Raises:
            ValueError: the file is that which this bank is a part of.
            OSError: the file cannot be written.

        Example:
            >>> bank = ut.Bank(ut.models.fc((32,), shape=(1, 8, 8)))
            >>> bank.add("digits", bank.masked(ut.RandomSubnetwork(keep=0.5)))
            >>> bank.save("tasks.bank")
            >>> ut.Bank.load("tasks.bank").names
            ['digits']
        """
        if self._part_of == Path(path).resolve():
            raise ValueError(f"{path} holds tasks that were not read (only=): save into another file, or read them all")
        change.save(Path(path), self._shared, self.tasks)

    @staticmethod
    def load(path: str | Path, model: nn.Module | None = None, only: Sequence[str] | None = None) -> Bank:
        """Read a bank from its file.

        Args:
            path: the file.
            model: a freshly built network; may be left out if it is one of `untrained.models`.
            only: the names of the tasks to read; such a bank is saved into other files only.

        Raises:
            TicketError: the file is damaged, lacks a task, or does not fit the model; the message names file and task.
        """
        with file.opened(Path(path)) as read:
            tickets, shared = list(read.tickets(only)), read.shared
            bank = Bank(read.build() if model is None else model, shared.seed, weights=shared.law)
            for name, ticket, data in tickets:
                with file.task_in_errors(name):
                    bank._insert(Task.of(name, bank._checked(ticket), data))
            bank._part_of = None if only is None else Path(path).resolve()
            return bank

    def use(self, name: str) -> nn.Module:
        """Write a task into the live network and return it: the same module and the same memory at every call.

        Where several threads ask for tasks, use `using`, or call the bank. Writes through `.data` are not noticed.

        Raises:
            ValueError: there is none of this name.
        """
        task = self.task(name)
        with self._lock:
            return self._live.show_(task)

    @contextmanager
    def using(self, name: str) -> Iterator[nn.Module]:
        """Yield the live network as a task; no other thread can use another task meanwhile."""
        with self._lock:
            yield self.use(name)

    def packed(self, name: str) -> nn.Module:
        """Return a task's own network that runs from its bits (`pack_`): another task's is a look-up away.

        Raises:
            ValueError: there is no task of this name, or none of its weights can be packed.
        """
        task = self.task(name)
        with self._lock:
            if name not in self._packed:
                self._packed[name] = pack_(self._live.fitted(task.ticket())).eval()
            return self._packed[name]

    def __call__(self, x: Tensor, task: str | Sequence[str]) -> Tensor:
        """Return the outputs of one task, or of each row's own task, always in evaluation mode.

        Args:
            x: the inputs, rows first.
            task: a name, or a name for each row. Rows are grouped: a row's output is, bit for bit, what its task gives
                for the rows of that group.

        Returns:
            The outputs, in the order of the rows; -∞ for classes that the task of a row lacks and others have.

        Raises:
            ValueError: a task is missing, or there is not one name for each row.
        """
        if isinstance(task, str):
            return self._run(x, task)
        names = list(task)
        for name in dict.fromkeys(names):
            self.task(name)
        if len(names) != len(x) or not names:
            raise ValueError(f"expected one task for each of {len(x)} rows, at least one, got {len(names)}")
        groups = {name: [row for row, own in enumerate(names) if own == name] for name in dict.fromkeys(names)}
        outputs = {name: self._run(x[torch.tensor(rows, device=x.device)], name) for name, rows in groups.items()}
        return gather(outputs, groups, len(names))

    def _run(self, x: Tensor, name: str) -> Tensor:
        with self.using(name) as model, self._live.evaluating():
            return model(x)

    def _check_new(self, name: str) -> None:
        if check_name(name) in self._tasks:
            raise ValueError(f"the bank has a task {name!r} already; remove it first, or choose another name")

    def _checked(self, ticket: Ticket) -> Ticket:
        """Return the ticket if it fits the bank.

        Raises:
            TicketError: its seed, law or network is another one, or it does not fit the network.
        """
        self._shared.check(ticket)
        self._live.fitted(ticket)
        return ticket

    def _insert(self, task: Task) -> None:
        with self._lock:
            self._check_new(task.name)
            self._tasks[task.name] = task
