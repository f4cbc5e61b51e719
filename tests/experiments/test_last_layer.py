"""A last layer with a method of its own, in find, compare and their files."""

import pytest

import untrained as ut
from untrained import plot
from untrained.experiments import testbed as lab

TEXT = "edge-popup(signed=True,last=Nudge(step=0.5,levels=31))"
SMALL = {"method": TEXT, "keep": 0.1, "widths": (8, 6), "epochs": 2, "twin": False}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plot, "available", lambda: False)  # pictures take longer than a search


def test_an_interrupted_search_goes_on_to_the_same_ticket():
    whole = ut.find(out="whole", **SMALL)
    ticket = ut.Ticket.load(whole.ticket)
    methods = {name: entry.method for name, entry in ticket.tensors.items() if entry.method}
    assert methods["fc3.weight"] == ut.Nudge(step=0.5, levels=31)
    assert methods["fc1.weight"] == methods["fc2.weight"] == ut.EdgePopup(0.1, signed=True)
    assert ticket.law == ut.SignedConstant()

    def stop(epoch):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        ut.find(out="again", on_epoch=stop, **SMALL)
    again = ut.find(out="again", resume=True, **SMALL)
    assert again.ticket.read_bytes() == whole.ticket.read_bytes()
    random, found = again.rows[1:3]
    assert random.kept == pytest.approx(found.kept, abs=3)


def test_a_rate_is_that_of_the_other_layers(monkeypatch):
    given = []
    monkeypatch.setattr(lab, "fit", lambda *a, recipe, **k: given.append(recipe) or 1 / 0)
    for lr in (None, 3.0):
        with pytest.raises(ZeroDivisionError):
            ut.find(out="run", lr=lr, **SMALL)
    main, last = ut.EdgePopup(0.1, signed=True), ut.Nudge(step=0.5, levels=31)
    assert given[0] == {main: main.recipe, last: last.recipe}
    assert {method: recipe.lr for method, recipe in given[1].items()} == {main: 3.0, last: last.recipe.lr}


@pytest.mark.parametrize("extra", [{"densities": "erk"}, {"scope": "global"}, {"weights": "standard"}], ids=str)
def test_other_settings_go_with_it(extra):
    found = ut.find(out="run", **SMALL | extra)
    ticket = ut.Ticket.load(found.ticket)
    assert (ticket.codes["fc3.weight"] != 0).all()
    kept = sum(int((ticket.codes[name] != 0).sum()) for name in ("fc1.weight", "fc2.weight"))
    assert kept == pytest.approx(0.1 * (512 + 48), abs=2)


def test_in_a_comparison_the_last_layer_alone_may_learn():
    texts = f"{TEXT},random-subnetwork(last=Nudge(step=0.5,levels=31))"
    found = ut.compare(methods=texts, keep="0.2", widths=(8, 6), epochs=2, seeds=1, jobs=1, out="grid")
    assert [cell.error for cell in found.cells] == [""] * 4
    random, alone = found.cells[1], found.cells[3]
    assert alone.seconds > 0 == random.seconds
    assert alone.accuracy > random.accuracy
    with pytest.raises(ValueError, match="last must be a method"):
        ut.compare(methods="edge-popup(last=dense)", out="other")


def test_without_a_last_layer_nothing_is_written():
    with pytest.raises(ValueError, match="two weight matrices or more, got 1"):
        ut.find(out="run", **SMALL | {"widths": ()})
    with pytest.raises(ValueError, match="a baseline"):
        ut.find(out="run", **SMALL | {"method": "dense(last=Dense())"})
