"""The notebook runs from its first cell to its last, and finds what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
for name in ("nbclient", "ipykernel", "matplotlib"):
    pytest.importorskip(name)

NOTEBOOK = Path(__file__).parent.parent / "examples/hidden.ipynb"
# In a process of its own: Jupyter's loops leave sockets open, which would be warnings here.
RUN = """
import json, sys, nbclient, nbformat
first, *others = (nbformat.read(path, as_version=4) for path in sys.argv[1:])
first.cells += [cell for notebook in others for cell in notebook.cells]  # one kernel, as each takes long to start
nbclient.NotebookClient(first, timeout=120, resources={"metadata": {"path": "."}}).execute()
cells = [cell for cell in first.cells if cell.cell_type == "code"]
print(json.dumps({cell.id: [dict(output) for output in cell.outputs] for cell in cells}, default=dict))
"""


SEARCHES = """
import torch, untrained as ut
found = ut.find(epochs=2, widths=(16,))
found
---
ut.compare(methods="edge-popup", seeds=1, epochs=1, widths=(8,), jobs=1, out="compared")
---
ut.sweep(keep="0.3,0.6", seeds=1, epochs=1, widths=(8,), jobs=1)
---
model = ut.mask_(torch.nn.Linear(64, 10), ut.EdgePopup(0.5), seed=0)
batches = [(torch.randn(8, 64), torch.arange(8))] * 4
ut.fit(model, batches, epochs=2, title="[red]mine\\n").rows[-1]["epoch"]
---
ut.fit(model, batches, epochs=2, title=None).rows[-1]["epoch"]
"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The outputs of both notebooks, of each cell of code by its id; they leave nothing behind but what they name."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(cell) for cell in SEARCHES.split("---\n")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "searches.ipynb")
    run = [sys.executable, "-c", RUN, NOTEBOOK, "searches.ipynb"]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in folder.iterdir()} == {"searches.ipynb", "runs", "compared"}
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def outputs(executed):
    """The outputs of the example, by cell."""
    return dict(list(executed.items())[:10])


@pytest.fixture(scope="module")
def searched(executed):
    """The outputs of the cells that search, in order."""
    return list(executed.values())[10:]


def shown(cell, kind):
    return [output["data"][kind] for output in cell if kind in output.get("data", ())]


def test_a_cell_shows_how_a_search_is_going(searched):
    find, compare, sweep, fit, silent = ([*shown(cell, "text/plain")][:-1] for cell in searched)
    assert [line.split("━")[0] for line in find[1:]] == ["found subnetwork ", "trained twin "]
    assert find[0].startswith("random network: measuring it")
    assert "100%" in find[1] and "validation" in find[1]
    assert len(compare) == 1 and compare[0].startswith("compare") and "3/3" in compare[0]
    assert len(sweep) == 1 and "5/5" in sweep[0]
    assert len(fit) == 1 and fit[0].startswith(r"[red]mine\n ━") and "100%" in fit[0] and "\x1b" not in fit[0]
    assert silent == []
    assert not any(output["output_type"] in ("stream", "error") for cell in searched for output in cell)


def test_what_is_found_is_a_table(searched):
    find, compare, sweep = (shown(cell, "text/html") for cell in searched[:3])
    assert [len(tables) for tables in (find, compare, sweep)] == [1, 1, 1]
    assert "found subnetwork" in find[0] and "trained twin" in find[0] and find[0].count("<tr>") == 5
    assert "bits/weight" in compare[0] and compare[0].count("<tr>") == 4
    assert sweep[0].count("<tr>") == 6


def percent(cell):
    text = "".join(output["text"] for output in cell if output.get("name") == "stdout")
    return [float(number) for number in re.findall(r"([\d.]+)%", text)]


def test_it_finds_what_it_says(outputs):
    random, half = percent(outputs["code-2"])
    found, twin = percent(outputs["code-6"])
    assert max(random, half) < 30 and found > 90 and found > twin - 3
    assert percent(outputs["code-4"])[0] > 70
    small, own, large, turned = percent(outputs["code-10"])
    assert small == own == large == found and turned < 30


def test_it_draws(outputs):
    drawn = [name for name, cell in outputs.items() if any("image/png" in output.get("data", ()) for output in cell)]
    assert drawn == ["code-1", "code-6", "code-7", "code-8"]
    assert len(json.dumps(outputs)) < 300_000


def test_it_is_kept_with_what_it_shows(outputs):
    notebook, text = nbformat.read(NOTEBOOK, as_version=4), NOTEBOOK.read_text(encoding="utf-8")
    nbformat.validate(notebook)
    kept = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"] == [*range(1, 11)]

    def kinds(cells):
        return {name: [(each["output_type"], sorted(each.get("data", ()))) for each in cell] for name, cell in cells}

    assert kinds(kept.items()) == kinds(outputs.items())  # pictures where there are pictures, and no error
    assert len(text) < 150_000 and not re.search(r"/home/|/root/|/tmp/|/work/|[A-Z]:\\\\", text)
