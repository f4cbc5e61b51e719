"""Tasks by the names that the command line knows them by."""

from __future__ import annotations

from pathlib import Path

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


def task_named(
    name: str,
    data_dir: str | Path | None = None,
    *,
    max_steps: int | None = None,
    predict: Predict | None = None,
) -> Task:
    """A task by its name.

    Args:
        name: `digits`, `mnist`, `swingup`, `swingup-hard`, `cartpole`, `pendulum`, `acrobot`, `mountain-car`, `gym:ID`
            with the id of a Gymnasium environment, or a .csv file whose last column is to be predicted.
        data_dir: where MNIST is, or where to download it to.
        max_steps: steps after which an episode of a `gym:ID` ends; None: its own limit.
        predict: what the last column of a table holds; None: see `table`.

    Raises:
        ValueError: there is no such task, or its data are not valid.
        ImportError: an extra is needed.
        OSError: a file is missing.
    """
    for what, given, fits in (
        ("max_steps", max_steps, name.startswith("gym:")),
        ("predict", predict, name.lower().endswith(".csv")),
    ):
        if given is not None and not fits:
            raise ValueError(f"{what}: got {given!r}, but the task {name!r} has no such setting")
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]()
    if name == "digits":
        return digits()
    if name == "mnist":
        return mnist(data_dir)
    if name.startswith("gym:"):
        from untrained.wann.tasks.gymnasium_task import GymEnv

        return GymEnv(name.removeprefix("gym:"), max_steps=max_steps)
    if name.lower().endswith(".csv"):
        return table(name, predict)
    raise ValueError(f"task {name!r}: expected one of {', '.join(NAMES)}, gym:ID or a .csv file")


def preset_of(name: str) -> str:
    """The preset that suits a task: the authors', where they had the task."""
    own = {"digits": "digits", "mnist": "mnist256", "swingup": "swingup", "swingup-hard": "swingup"}
    if name.lower().endswith(".csv"):
        return "table"
    return own.get(name, "biped" if name.startswith("gym:BipedalWalker") else "default")
