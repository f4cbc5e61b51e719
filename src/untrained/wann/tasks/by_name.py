"""Tasks by their names on the command line."""

from __future__ import annotations

from pathlib import Path

from untrained.fields import suggest
from untrained.wann.tasks import environments
from untrained.wann.tasks.images import digits, mnist
from untrained.wann.tasks.tables import Predict, table
from untrained.wann.tasks.task import Task

ENVIRONMENTS = {
    "swingup": environments.swing_up,
    "swingup-hard": environments.swing_up_hard,
    "cartpole": environments.cart_pole,
    "pendulum": environments.pendulum,
    "acrobot": environments.acrobot,
    "mountain-car": environments.mountain_car,
}
NAMES = ("digits", "mnist", *ENVIRONMENTS)
_PRESETS = {"digits": "digits", "mnist": "mnist256"} | dict.fromkeys(ENVIRONMENTS, "archive")


def task_named(
    name: str,
    data_dir: str | Path | None = None,
    *,
    max_steps: int | None = None,
    predict: Predict | None = None,
) -> Task:
    """Return the task of a name.

    Args:
        name: `digits`, `mnist`, `swingup`, `swingup-hard`, `cartpole`, `pendulum`, `acrobot`, `mountain-car`, `gym:ID`
            with the id of a Gymnasium environment, or a .csv file whose last column is to be predicted.
        data_dir: folder of MNIST, or to download it to.
        max_steps: steps after which an episode of a `gym:ID` ends; None: its registered limit.
        predict: "classes" or "numbers" in the last column of a table; None: see `table`.

    Raises:
        ValueError: there is no such task, or its data are not valid.
        ImportError: an extra is needed.
        OSError: a file is missing.
    """
    is_gym, is_table = name.startswith("gym:"), name.lower().endswith(".csv")
    for option, value, allowed in (("max_steps", max_steps, is_gym), ("predict", predict, is_table)):
        if value is not None and not allowed:
            raise ValueError(f"{option} must not be set for the task {name!r}, got {value!r}")
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]()
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(data_dir)
    if is_gym:
        from untrained.wann.tasks.gymnasium_task import GymEnv

        return GymEnv(name.removeprefix("gym:"), max_steps=max_steps)
    if is_table:
        return table(name, predict)
    near = suggest(name, NAMES)
    raise ValueError(f"task must be one of {', '.join(NAMES)}, gym:ID or a .csv file, got {name!r}{near}")


def preset_of(name: str) -> str:
    """Return the name of the preset that suits a task."""
    if name.lower().endswith(".csv"):
        return "table"
    return _PRESETS.get(name, "biped" if name.startswith("gym:BipedalWalker") else "default")
