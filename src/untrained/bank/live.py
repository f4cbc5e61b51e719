"""The one live network of a bank: the frozen weights, and the writing of a task into its parameters."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor, jit, nn

from untrained.bank.task import Task
from untrained.masking.masked_class import tensors_of
from untrained.masking.plan import Where
from untrained.native import bank as kernels
from untrained.tickets import contents
from untrained.tickets.header import TensorEntry, TicketError
from untrained.tickets.ticket import Ticket
from untrained.weights.laws import WeightLaw
from untrained.weights.source import Source


@final
class Live:
    """A network whose parameters hold one task at a time, always in the same memory.

    Attributes:
        module: the network, frozen.
        seed, law: those of the frozen weights; no law for a pretrained network's own.
    """

    def __init__(self, module: nn.Module, seed: int, law: WeightLaw | None) -> None:
        self.module, self.seed, self.law = module, seed, law
        _refuse_wrapped(module)
        contents.check_writable(module, tensors_of(module))
        self._blueprint = _copied(module).cpu()
        self._bind()
        for parameter in module.eval().parameters():
            parameter.requires_grad_(False)

    def __getstate__(self) -> dict[str, object]:
        return {name: vars(self)[name] for name in ("module", "seed", "law", "_blueprint")}

    def __setstate__(self, state: Mapping[str, object]) -> None:
        vars(self).update(state)
        self._bind()

    def _bind(self) -> None:
        """Take the network's tensors as they lie in memory now; nothing is known of what they hold."""
        first, self._held = tensors_of(self._blueprint), tensors_of(self.module)
        self._own = {  # the memory that stays
            name: held.detach() if held.shape == first[name].shape else held.new_empty(first[name].shape)
            for name, held in self._held.items()
        }
        self._frozen: dict[tuple[str, float, torch.device], Tensor] = {}
        self._written: dict[str, tuple[object, int, Tensor]] = {}
        self._places = _places(self.module)

    def fresh(self, heads: Mapping[str, int] | None = None) -> nn.Module:
        """Return a new network, on the CPU, as the first one was; Linear layers in `heads` with so many outputs.

        Raises:
            ValueError: a head is no Linear layer of the network, or its outputs are not a positive integer.
        """
        model = copy.deepcopy(self._blueprint)
        for path, outputs in (heads or {}).items():
            replace_head_(model, path, outputs)
        return model

    def twin(self) -> Live:
        """Return a live network of its own over the same frozen weights, which shows tasks without a change of this."""
        self.follow()
        other, module = Live.__new__(Live), self.fresh().eval().requires_grad_(False)
        for name, tensor in tensors_of(module).items():
            tensor.data = tensor.data.to(self._held[name])  # its device, and its type where it was converted
        other.__setstate__({**self.__getstate__(), "module": module})
        other._frozen = self._frozen
        return other

    @property
    def held(self) -> Mapping[str, Tensor]:
        """The tensors of the network by name."""
        return self._held

    def fitted(self, ticket: Ticket) -> nn.Module:
        """Return a new network as the ticket makes it, with heads of the ticket's sizes.

        Raises:
            TicketError: a tensor is missing, unknown, of another shape or dtype, or its weights come out different.
        """
        heads = {}
        for name, tensor in ticket.extra.items():
            if name in self._own and tensor.shape != self._own[name].shape and tensor.ndim == 2:
                heads[name.rpartition(".")[0]] = tensor.shape[0]
        try:
            model = self.fresh(heads)
        except ValueError as error:
            raise TicketError(str(error)) from None
        return ticket.apply_(model)

    def frozen(self, name: str, entry: TensorEntry) -> Tensor:
        """Return the frozen weight of a tensor, drawn once, on the device of the live one."""
        keep = None if entry.method is None or self.law is None or not self.law.scaled else entry.method.final_keep
        device = self._held[name].device
        key = name, 1.0 if keep is None else keep, device
        if key not in self._frozen:
            if self.law is None:
                drawn = dict(tensors_of(self._blueprint))[name].detach()
            else:
                drawn = Source.of(entry, name, seed=self.seed, law=self.law, keep=keep).draw()
            self._frozen[key] = drawn.to(device)
        return self._frozen[key]

    def effective(self, task: Task, name: str) -> Tensor:
        """Return the effective weight of a tensor in a task, on the device of the live one."""
        entry = task.tensors[name]
        if name in task.bits:
            out = torch.empty_like(self.frozen(name, entry))
            kernels.place_masked(task.bits[name], self.frozen(name, entry), out)
            return out
        device = self._held[name].device
        if entry.constant is not None:
            return torch.full(entry.shape, entry.constant, dtype=entry.dtype, device=device)
        if entry.method is None:
            return self.frozen(name, entry)
        own = self.frozen(name, entry).cpu() if self.law is None else None
        return entry.method.shown(entry.source(name, self.seed, self.law, own), task.others[name]).to(device)

    @torch.no_grad()
    def show_(self, task: Task) -> nn.Module:
        """Write a task into the live network, in place; what is there already is left, if nobody wrote into it.

        Raises:
            ValueError: somebody gave the network other tensors, which are no longer those of the bank.
        """
        self.follow()
        for name, entry in task.tensors.items():
            held, content = self._held[name], entry if entry.method is None else task
            if held.shape != entry.shape:
                self._resize_(name, entry.shape)
            if self._holds(name, content):
                continue
            if name in task.bits:
                kernels.place_masked(task.bits[name], self.frozen(name, entry), held)
            else:
                held.copy_(self.effective(task, name))
            self._written[name] = content, _version(held), held.detach()
        for name, tensor in task.extra.items():
            if self._held[name].shape != tensor.shape:
                self._resize_(name, tuple(tensor.shape))
            self._held[name].copy_(tensor)
            self._written.pop(name, None)
        return self.module

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Set the live network to evaluation mode; afterwards restore the mode of every module."""
        before = {module: module.training for module in self.module.modules()}
        if not any(before.values()):
            yield
            return
        try:
            self.module.eval()
            yield
        finally:
            self.module.train(before[self.module])  # a module may do more than set its flag
            for module, was_training in before.items():
                module.training = was_training

    def follow(self) -> None:
        """Find the network's tensors again where it was moved or converted (`model.to`)."""
        if all(
            len(holder) == len(items) and all(holder.get(leaf) is value for leaf, value in items)
            for holder, items in self._places
        ):
            return
        held = tensors_of(self.module)
        for name in sorted(held.keys() ^ self._held.keys()):
            raise ValueError(f"{name!r} is {'new in' if name in held else 'gone from'} the bank's network")
        for name, tensor in held.items():
            if tensor.shape != self._held[name].shape:
                was = tuple(self._held[name].shape)
                raise ValueError(f"{name!r} of the bank's network has shape {tuple(tensor.shape)} now, and had {was}")
        contents.check_writable(self.module, held)
        self._held, self._places = held, _places(self.module)
        self._written.clear()

    def _holds(self, name: str, content: object) -> bool:
        """Return True if a tensor still holds this content, in the memory that it was written to."""
        held, nothing = self._held[name], (None, 0, self._own[name])
        written, version, place = self._written.get(name, nothing)
        same = written is content or (isinstance(content, TensorEntry) and written == content)
        return same and version == _version(held) and (place.data_ptr(), place.dtype) == (held.data_ptr(), held.dtype)

    def _resize_(self, name: str, shape: tuple[int, ...]) -> None:
        """Give a tensor of a head memory of another shape; of the network's own shape, its own memory again."""
        held, own, path = self._held[name], self._own[name], name.rpartition(".")[0]
        if held.shape == own.shape:
            own = self._own[name] = held.detach()
        kept = (own.shape, own.dtype, own.device) == (shape, held.dtype, held.device)
        held.data = own if kept else held.new_empty(shape)
        self._written.pop(name, None)
        self.module.get_submodule(path).out_features = shape[0]  # pyright: ignore[reportArgumentType]


def _refuse_wrapped(model: nn.Module) -> None:
    """Refuse a model that holds compiled code or hooks of other tensors than those that will be written.

    Raises:
        ValueError: it is compiled already, or DistributedDataParallel.
    """
    compiler = sys.modules.get("torch._dynamo")  # it takes seconds to import, and a compiled model has loaded it
    kinds = nn.parallel.DistributedDataParallel, jit.ScriptModule, *([compiler.OptimizedModule] if compiler else [])
    for module in model.modules():
        if isinstance(module, kinds):
            kind = type(module).__name__
            raise ValueError(f"the model must be a plain one, got {kind}: make the bank first, then wrap bank.model")


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # of the user's module, or of torch
        raise ValueError(f"the model cannot be copied: {error}") from error


def _places(model: nn.Module) -> list[tuple[Mapping[str, object], list[tuple[str, object]]]]:
    """Return the modules, parameters and buffers of each module: where they are registered, and which they are."""
    holders = [h for module in model.modules() for h in (module._modules, module._parameters, module._buffers)]
    return [(holder, list(holder.items())) for holder in holders]


def replace_head_(model: nn.Module, path: str, outputs: int) -> nn.Linear:
    """Replace a Linear layer by a new one of so many outputs, and return it.

    Raises:
        ValueError: there is no Linear layer of this name, or the number is not a positive integer.
    """
    module = dict(model.named_modules()).get(path)
    if type(module) is not nn.Linear:
        what = "missing" if module is None else f"a {type(module).__name__}"
        raise ValueError(f"a head must be a Linear layer of the network, and {path!r} is {what}")
    if type(outputs) is not int or outputs < 1:
        raise ValueError(f"the outputs of head {path!r} must be 1 or more, got {outputs!r}")
    old = module.weight
    head = nn.Linear(module.in_features, outputs, module.bias is not None, device=old.device, dtype=old.dtype)
    model.set_submodule(path, head.train(module.training))
    return head


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def join_conditions(own: Sequence[str], also_train: Where | None) -> Where:
    """Return the condition of being one of these names, or matched."""

    def trained(name: str, parameter: nn.Parameter) -> bool:
        if name in own:
            return True
        if isinstance(also_train, str):
            return re.fullmatch(also_train, name) is not None
        return also_train is not None and bool(also_train(name, parameter))

    return trained
