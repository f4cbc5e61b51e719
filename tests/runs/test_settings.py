"""Settings: what they refuse, and that they come back from their file."""

from pathlib import Path

import pytest

from untrained.experiments.run_folder import choose_folder, write_settings
from untrained.runs.settings import CompareSettings, Settings, SweepSettings, read_toml


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs.*0"),
        ({"epochs": 1.5}, "epochs.*1.5"),
        ({"batch_size": -1}, "batch-size.*-1"),
        ({"densities": "even"}, "densities.*uniform.*erk.*even"),
        ({"activation": "gelu"}, "activation.*gelu"),
        ({"seed": -1}, "seed.*-1"),
        ({"lr": float("nan")}, "lr.*nan"),
        ({"scope": "all"}, "scope.*all"),
        ({"twin": "no"}, "twin.*no"),
        ({"model": None}, "model.*None"),
        ({"widths": 8}, "widths.*8"),
    ],
)
def test_wrong_settings_are_refused_by_name_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings(**changes)


def test_paths_and_lists_may_be_given_as_they_are_typed():
    assert Settings(out="a", data_dir="b", widths=[8, 4]) == Settings(out=Path("a"), data_dir=Path("b"), widths=(8, 4))


def test_a_file_that_is_no_toml_is_refused(tmp_path):
    assert read_toml(tmp_path / "none.toml") == {}
    for text in ("epochs = [", "a" * 10, "[" * 100_000):
        (tmp_path / "a.toml").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"a\.toml"):
            read_toml(tmp_path / "a.toml")


@pytest.mark.parametrize(
    "settings",
    [
        CompareSettings(),
        CompareSettings(methods='edge-popup(scope="global")', method=("a b/mine.py:A", "ü\\\t'.py:B"), keep="0.5,0.1"),
        CompareSettings(widths=(8, 4), width=0.5, jobs=-1, data_dir=Path("a'b"), size=8, device="cpu", amp=True),
        SweepSettings(width="0.5,2", weights="standard", keep="0.3"),
        Settings(method="edge-popup(keep=Cubic(0.5, 0.1))", keep=1e-05, scope="global", seed=2**64 - 1, twin=False),
        CompareSettings(data="bilder\N{GRINNING FACE}"),
    ],
)
def test_settings_come_back_from_their_file_as_they_were(settings, tmp_path):
    write_settings(tmp_path, settings)
    read = read_toml(tmp_path / "config.toml")
    for name, value in read.items():
        given = getattr(settings, name.replace("-", "_"))
        assert (list(given) if isinstance(given, tuple) else str(given) if isinstance(given, Path) else given) == value
    given = {name.replace("-", "_") for name in read}
    of_its_folder = {"out", "resume", "cell", "merge"}
    assert all(getattr(settings, name) is None for name in vars(settings).keys() - given - of_its_folder)
    again = type(settings)(out=tmp_path, resume=True, **{name: getattr(settings, name) for name in given})
    assert choose_folder(again, "name", lambda folder: True) == tmp_path
