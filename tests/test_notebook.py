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
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
print(json.dumps({cell.id: [dict(output) for output in cell.outputs] for cell in cells}, default=dict))
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What every cell of code gave, by its id."""
    folder = tmp_path_factory.mktemp("notebook")
    done = subprocess.run(
        [sys.executable, "-c", RUN, NOTEBOOK], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert not list(folder.iterdir())  # it leaves nothing behind
    return json.loads(done.stdout.splitlines()[-1])


def percent(cell):
    text = "".join(output["text"] for output in cell if output.get("name") == "stdout")
    return [float(number) for number in re.findall(r"([\d.]+)%", text)]


def test_it_finds_what_it_says(outputs):
    assert len(outputs) == 10
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


def test_it_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert cell.cell_type == "markdown" or (not cell.outputs and cell.execution_count is None)
