"""The examples of docs/trackers.md, each where its package is installed."""

import re
import warnings
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs/trackers.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python ?(\w*)\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", PAGE, re.DOTALL | re.MULTILINE)


def _run(name, capsys=None):
    """Run the first example, and all of this name."""
    names: dict = {}
    for number, (package, code, shown) in enumerate(BLOCKS):
        if number == 0 or package == name:
            exec(compile(code, "trackers.md", "exec"), names)
            if capsys is not None:
                out = capsys.readouterr().out
                assert not shown or out == shown
    return names


def test_a_search_calls_back_and_goes_on_from_a_ticket(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "first" in _run("", capsys)


@pytest.mark.parametrize("package", ["tensorboard", "mlflow", "wandb", "optuna"])
def test_trackers(package, tmp_path, monkeypatch):
    pytest.importorskip(package)
    assert package in {name for name, _, _ in BLOCKS}
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs
        names = _run(package)
    if package == "tensorboard":
        assert list(Path("tensorboard").glob("events*"))
    if package == "mlflow":
        found = names["mlflow"].search_runs(search_all_experiments=True, output_format="list")[0].data
        assert found.metrics["epoch"] == 2 and found.params["keep"] == "0.5"
    if package == "wandb":
        assert list(Path("wandb").glob("offline-run-*"))
    if package == "optuna":
        assert len(names["study"].trials) == 6 and 0 < names["study"].best_value <= 1
