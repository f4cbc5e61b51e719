"""Objects that `compare` takes where settings have names: networks, methods, data and a training loop."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import nn

from untrained.data.dataset import DataSet
from untrained.data.own import Data, check_data
from untrained.experiments import by_name
from untrained.experiments.choices import ignored_by
from untrained.experiments.fingerprint import fingerprint
from untrained.experiments.own_loop import check_loop
from untrained.methods import METHODS, Method
from untrained.models.brought import Brought
from untrained.models.own import OwnNetwork, brought
from untrained.opponents import OPPONENTS, Opponent
from untrained.own_code import OBJECT, OwnCode, spelled
from untrained.runs.settings import CompareSettings, settle
from untrained.runs.table import TWIN
from untrained.search.objective import Objective

Entrant = Method | Opponent
_NAMES = {cls: name for name, cls in (METHODS | OPPONENTS).items()}


@final
@dataclass(frozen=True)
class Objects:
    """Objects by the names that stand for them in settings and tables; none of a run from the command line.

    Attributes:
        models: networks by their name, as objects or as texts of settings.
        methods: methods by their name: objects by their fraction kept, or a text of settings.
        data: the data.
        loop: the training loop for what learns by scores.
        choices: the loss and the metric that are functions, by "loss" and "metric".
    """

    models: Mapping[str, OwnNetwork | str] = field(default_factory=dict)
    methods: Mapping[str, Mapping[float | None, Entrant] | str] = field(default_factory=dict)
    data: Data | None = None
    loop: Callable[..., Any] | None = None
    choices: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def network(self, text: str) -> Brought | None:
        """Return the network that a text of settings names, imported if it is code; None for a name of `NETWORKS`."""
        found = self.models.get(text.removeprefix(OBJECT)) if text.startswith(OBJECT) else None
        return brought(text) if found is None or isinstance(found, str) else found

    def setups(self, settings: CompareSettings, changes: Mapping[str, Any]) -> dict[str | None, CompareSettings]:
        """Return the settings for each network by its name, which is None if there is one alone."""
        several, found = len(self.models) > 1, {}
        for name, made in self.models.items():
            text = made if isinstance(made, str) else f"{OBJECT}{name}"
            found[name if several else None] = settle(settings, {**changes, "model": text})
        return found or {None: settle(settings, changes)}

    def text_of(self, name: str) -> str:
        """Return the text of a method that has another name in the table."""
        return text if isinstance(text := self.methods.get(name), str) else name

    def of(self, text: str) -> Mapping[float | None, Entrant]:
        """Return the method objects of a name by their fraction kept; none if it is that of a text."""
        return its if isinstance(its := self.methods.get(text), Mapping) else {}

    def entrant(self, text: str, keep: float | None = None) -> Entrant:
        """Return the method or the trained opponent of a name or text, with a fraction kept."""
        return self.of(text).get(keep) or by_name.entrant_of(self.text_of(text), keep)

    def last(self, text: str) -> Method | None:
        """Return the method of the last layer alone, which only a text can have."""
        return None if self.of(text) else by_name.last_of(self.text_of(text))


NOTHING = Objects()


def take(
    models: Any, methods: Any, data: Any, loop: Any, choices: Mapping[str, Any], settings: CompareSettings
) -> tuple[Objects, dict[str, Any]]:
    """Return the objects among the arguments of `compare`, and the changes of the settings that have their names.

    `choices` are the loss and the metric; None: that of the settings.
    """
    changes: dict[str, Any] = {name: given for name, given in choices.items() if isinstance(given, str)}
    functions = {name: given for name, given in choices.items() if not isinstance(given, str | None)}
    changes |= {name: f"{OBJECT}{_name_of(given)}" for name, given in functions.items()}
    Objective.of(**{"loss": None, "metric": None} | functions)  # refuses what is no function
    networks = {} if models is None else _networks(models)
    if networks:
        if settings.model != CompareSettings().model:
            raise ValueError(f"give models or model, not both, got the model {settings.model}")
        changes["model"] = OBJECT * any(not isinstance(made, str) for made in networks.values()) + ", ".join(networks)
    own: dict[str, Any] = {}
    if methods is not None:
        names, own = ([methods], {}) if isinstance(methods, str) else _methods(methods)
        changes["methods"] = ", ".join(names)
    if data is not None:
        changes["data"] = data if isinstance(data, str) else data.name if isinstance(data, DataSet) else "data"
    if isinstance(data, str):
        data = None
    if loop is not None:
        check_loop(loop)
    parts = _parts(Objects(networks, own, data, loop, functions))
    if parts:  # before a pass over the batches, which may draw their order
        changes["objects"] = tuple(f"{name}: {fingerprint(part)}" for name, part in parts.items())
    if data is not None:
        data = check_data(data, changes["data"], {}, ignored_by(changes.get("loss", settings.loss)))
    return Objects(networks, own, data, loop, functions), changes


def _parts(objects: Objects) -> dict[str, object]:
    """Return every object by its name in messages."""
    its = objects.models.items()
    models = {f"models[{name!r}]": getattr(getattr(made, "code", None), "value", made) for name, made in its}
    methods = {f"methods[{name!r}]": own for name, own in objects.methods.items()}
    others: dict[str, object] = {"data": objects.data, "loop": objects.loop, **objects.choices}
    return {**models, **methods, **{name: part for name, part in others.items() if part is not None}}


def refuse_unportable(objects: Objects) -> None:
    """Raise a ValueError that names the object if one cannot be sent to another process."""
    from joblib.externals.loky.backend.reduction import dumps  # by cloudpickle, which writes functions of scripts

    for name, part in _parts(objects).items():
        try:
            dumps(part)
        except Exception as error:  # an object may raise errors of any class
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise ValueError(f"{name} cannot be sent to another process ({reason}): pass jobs=1") from error


def _named(what: str, given: Any) -> list[tuple[str, Any]]:
    """Return (name, object) of a dictionary, a list, or one object alone."""
    if isinstance(given, Mapping):
        for name in given:
            if not isinstance(name, str) or by_name.split(name) != [name] or name in (TWIN, "all", "opponents"):
                raise ValueError(f"names in {what} must be texts without commas, and not taken, got {name!r}")
        found = list(given.items())
    else:
        found = [(_name_of(each), each) for each in (given if isinstance(given, list | tuple) else [given])]
    if not found:
        raise ValueError(f"{what} must have one at least, got none")
    return found


def _name_of(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, Method | Opponent):
        kind: Any = type(given)
        default = {each.name: each.default for each in dataclasses.fields(kind) if each.name != "keep"}
        fields = {name: value for name in default if (value := getattr(given, name)) != default[name]}
        return spelled(_NAMES.get(kind) or kind.__name__, fields)
    while isinstance(given, functools.partial):
        given = given.func
    return getattr(given, "__name__", type(given).__name__)


def _networks(models: Any) -> dict[str, OwnNetwork | str]:
    found: dict[str, OwnNetwork | str] = {}
    for name, made in _named("models", models):
        if isinstance(made, nn.Module) or not (isinstance(made, str) or callable(made)):
            raise ValueError(
                f"models[{name!r}] must be a function that returns a new nn.Module at every call, as every search "
                f"needs its own, got a {type(made).__name__}"
            )
        if name in found:
            raise ValueError(f"two models are called {name!r}: give names, models={{NAME: function, ...}}")
        found[name] = made if isinstance(made, str) else _own_network(name, made)
    return found


def _own_network(name: str, made: Callable[..., Any]) -> OwnNetwork:
    """Return a network whose tickets name the function as --model does, where a file has it."""
    own, module = getattr(made, "__qualname__", ""), sys.modules.get(getattr(made, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    text, sha256 = f"{OBJECT}{name}", ""
    if module is not None and file is not None and getattr(module, own, None) is made:
        text = f"{Path(file).name if module.__name__ == '__main__' else module.__name__}:{own}"
        sha256 = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return OwnNetwork(text, {}, OwnCode(text, made, sha256))


def _methods(methods: Any) -> tuple[Sequence[str], dict[str, Any]]:
    """Return the names in their order, and what they stand for, as `Objects.methods`."""
    names: list[str] = []
    own: dict[str, Any] = {}
    for name, given in _named("methods", methods):
        if isinstance(given, str):
            names += by_name.split(name)
            own |= {name: given} if isinstance(methods, Mapping) else {}
            continue
        if not isinstance(given, Method | Opponent):
            hint = f"; write {given.__name__}()" if isinstance(given, type) else ""
            raise ValueError(f"methods[{name!r}] must be a method, or the name of one, got {given!r}{hint}")
        if isinstance(given, Method):
            by_name.check_class(type(given))
        keep = given.final_keep if isinstance(given, Method) else getattr(given, "keep", None)
        keep = keep if given.takes_keep and isinstance(keep, float) else None
        names += [name] if name not in own or keep in own[name] else []
        own[name] = own.get(name, {}) | {keep: given}
    for name in own:
        if names.count(name) > 1:
            raise ValueError(f"two methods are called {name!r}: give names, methods={{NAME: method, ...}}")
    return names, own
