"""The shared part of a bank: the seed, the law of the weights, and the network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import nn

from untrained.models import Network, build
from untrained.tickets import header
from untrained.tickets.header import TicketError
from untrained.tickets.ticket import Ticket
from untrained.weights.laws import WeightLaw


@final
@dataclass(frozen=True)
class Shared:
    """Facts that all tasks of a bank share.

    Attributes:
        seed, law: those of the frozen weights; no law for a pretrained network's own.
        network: name and arguments of the network, if it is one of `untrained.models`.
    """

    seed: int
    law: WeightLaw | None
    network: Mapping[str, Any] | None

    @staticmethod
    def of(model: nn.Module, seed: int, law: WeightLaw | None) -> Shared:
        """Return what the tasks on a model share."""
        network = model.built_by if isinstance(model, Network) else None
        return Shared(seed, law, None if network is None else json.loads(header.to_json(network)))

    def to_text(self) -> bytes:
        """Return them as canonical JSON."""
        law = None if self.law is None else header.describe(self.law)
        return header.to_json({"seed": self.seed, "weights": law, "network": self.network}).encode()

    @staticmethod
    def of_text(text: str) -> Shared:
        """Parse them, and trust nothing.

        Raises:
            TicketError: a field is missing, unknown or not as the format demands.
        """
        found, kinds = header.from_json(text), {"seed": (int,), "weights": (dict, type(None))}
        header.check_keys("the header", found, kinds | {"network": (dict, type(None))}, set())
        law, network = found["weights"], found["network"]
        if not 0 <= found["seed"] < 1 << 64:
            raise TicketError(f"seed must be in [0, 2**64), got {found['seed']}")
        if network is not None:
            header.check_keys("the network", network, {"name": (str,), "arguments": (dict,)}, set())
        return Shared(found["seed"], None if law is None else header.revive(WeightLaw, law, "weights law"), network)

    def check(self, ticket: Ticket) -> None:
        """Refuse a ticket of another seed, law or network.

        Raises:
            TicketError: one is another.
        """
        if ticket.law != self.law:
            raise TicketError(f"its weights must be {self.law or 'the model’s own'}, got {ticket.law or 'its own'}")
        if self.law is not None and ticket.seed != self.seed:
            raise TicketError(f"its seed must be that of the bank, {self.seed}, got {ticket.seed}")
        if self.network is not None and ticket.built_by is not None:
            if header.to_json(ticket.built_by) != header.to_json(self.network):
                raise TicketError(f"its network must be that of the bank, {self.network}, got {ticket.built_by}")

    def build(self) -> nn.Module:
        """Build the network, if it is one of `untrained.models`, whose sizes are bounded.

        Raises:
            TicketError: it is another one, or its arguments are refused.
        """
        if self.network is None:
            raise TicketError("it does not describe its network; pass a freshly built model")
        try:
            with torch.random.fork_rng(devices=[]):
                return build(self.network["name"], **self.network["arguments"])
        except ValueError as error:
            raise TicketError(f"its network cannot be built: {error}") from None
