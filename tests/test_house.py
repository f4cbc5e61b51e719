"""The rules of the house that a machine can check."""

import ast
import graphlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import networkx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import untrained
from untrained.search import run_files

ROOT = Path(__file__).parents[1]
SOURCE = Path(untrained.__file__).parent
# Data flows seed → weights → scores → choice → ticket → run; a package imports only from those before it.
PACKAGES = """
    _version _old_paths files fields terminal own_code clusters native models data weights selection methods masking
    optim tickets packed bank export search runs opponents plot report experiments sklearn wann testing cli __main__
""".split()
# The packages for weight agnostic networks, in the same way.
WANN_PACKAGES = "networks numerics tasks evolution tuning runs".split()


def _modules():
    """Yield (dotted name, tree) of each of our modules; a package by its own name."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(_modules())


def _imported(tree):
    """Yield the dotted names of our modules that a file imports, at its top or when a function is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "untrained":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "untrained")


IMPORTS = {name: sorted({*_imported(tree)}) for name, tree in MODULES.items()}


@pytest.mark.parametrize(("prefix", "order"), [("untrained", PACKAGES), ("untrained.wann", WANN_PACKAGES)])
def test_imports_follow_the_flow_only(prefix, order):
    depth = prefix.count(".") + 1
    for name, imports in IMPORTS.items():
        if not name.startswith(f"{prefix}."):
            continue
        own = name.split(".")[depth]
        assert own in order, f"{name} has no place in the flow"
        for each in imports:
            if each == prefix or each.startswith(f"{prefix}."):
                assert each != prefix, f"{name} imports {prefix}, which stands above it"
                other = each.split(".")[depth]
                assert order.index(other) <= order.index(own), f"{name} imports {each}, which comes after"


def test_no_module_imports_itself_in_a_circle():
    # A package's own file only collects names of its modules, which name the modules they need.
    inner = {name: [each for each in imports if each != name] for name, imports in IMPORTS.items()}
    graphlib.TopologicalSorter(inner).prepare()


def _picture():
    """Return the packages as a Mermaid picture: imports between packages, without those that follow from others."""
    graph = networkx.DiGraph()
    for name, imports in IMPORTS.items():
        for each in imports:
            ends = [one.split(".")[1] for one in (name, each) if "." in one and one.split(".")[1] in PACKAGES]
            if len(set(ends)) == 2 and not {"__main__", "_version"} & {*ends}:
                graph.add_edge(*ends)
    arrows = sorted(networkx.transitive_reduction(graph).edges, key=lambda ends: [-PACKAGES.index(end) for end in ends])
    return "\n".join(["```mermaid", "graph TD", *(f"  {a} --> {b}" for a, b in arrows), "```"])


def test_contributing_shows_the_packages_as_they_are():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = text.split("<!-- packages -->\n")[1].split("\n<!-- end -->")[0]
    assert shown == _picture(), "put this picture into CONTRIBUTING.md:\n" + _picture()


def test_the_walks_of_contributing_lead_to_functions_that_exist():
    lines = re.findall(r"^\d+\. `([\w/]+\.py)`: (.*)$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M)
    assert len(lines) == 30
    for path, text in lines:
        name = re.findall(r"`(\w+)`", text)[0]
        defined = {getattr(node, "name", None) for node in ast.walk(ast.parse((SOURCE / path).read_text("utf-8")))}
        assert name in defined, f"{path} has no {name}"


def test_few_files_lie_beside_the_packages():
    assert len([path for path in SOURCE.iterdir() if path.is_file()]) <= 10
    assert len([path for path in (SOURCE / "wann").iterdir() if path.is_file()]) <= 3


def test_no_public_name_hides_a_file():
    # Importing untrained.x binds untrained.x to the module, so a function of that name would come and go.
    files = {path.stem for path in SOURCE.iterdir()}
    assert {name for name in untrained.__all__ if name in files} == {
        "export", "models", "optim", "packed", "plot", "sklearn", "testing", "wann",
    }  # fmt: skip


def test_every_public_name_is_there_and_documented():
    for name in set(untrained.__all__) - {"__version__"}:
        assert getattr(untrained, name).__doc__ or name.isupper(), name


def test_help_needs_no_torch_and_importing_costs_little_beyond_it():
    code = (
        "import sys; from untrained.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules\n"
        "import untrained\n"
        "[getattr(untrained, name) for name in untrained.__all__]\n"
        "print(sorted({'matplotlib', 'PIL', 'pooch', 'scipy', 'sklearn', 'constriction', 'numba'} & {*sys.modules}))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_names_of_test_files_are_unique():
    # pytest imports them by name alone.
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert len(names) == len(set(names)), {name for name in names if names.count(name) > 1}


def test_names_of_run_files_are_written_in_one_file():
    names = {name for name in vars(run_files).values() if isinstance(name, str) and "." in name.strip(".")}
    names -= {run_files.__name__, run_files.__package__, run_files.__file__}
    assert {"found.ticket", "config.toml", "found.json"} <= names
    for module, tree in MODULES.items():
        if module != run_files.__name__:
            typed = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
            assert not typed & names, f"{module} types the name of a run's file: take it from search/run_files.py"


def test_commands_that_install_an_extra_are_made_in_one_place():
    for path in SOURCE.rglob("*.py"):
        assert "pip install 'untrained[" not in path.read_text("utf-8") or path.parent.name == "terminal", (
            f"{path.name}: say install_command('EXTRA') of terminal/extras.py, which is right in a clone, too"
        )


def test_importing_all_public_names_loads_no_compiler():
    # torch._dynamo takes seconds to import.
    code = (
        "import sys, torch; before = 'torch._dynamo' in sys.modules\n"
        "import untrained; [getattr(untrained, name) for name in untrained.__all__]; untrained.wann.Net\n"
        "assert before or 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def _lines(folder, *endings):
    files = [path for ending in endings or ["py"] for path in folder.rglob(f"*.{ending}") if path.parent.name != "vega"]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def test_the_library_stays_small():
    """Totals that only fall; a commit that raises one gives its reason."""
    assert _lines(SOURCE) < 37_900
    assert _lines(SOURCE, "js", "css", "cpp", "h", "html") < 7_150


def test_files_and_functions_are_read_in_one_sitting():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 350, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path.name}: {node.name}"


def test_a_method_is_a_page_or_two():
    for path in (SOURCE / "methods").glob("*.py"):
        assert len(path.read_text().splitlines()) < 220, path.name


def test_the_least_versions_are_those_that_are_tested():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): Version(version) for name, version in pins.items()}
    extras = project["optional-dependencies"]
    untested = {"all", "box2d", "dev", "docs"}  # box2d's Gymnasium is newer than wann's
    asked = [*project["dependencies"], *(each for extra in extras.keys() - untested for each in extras[extra])]
    for each in map(Requirement, asked):
        (least,) = each.specifier
        assert least.operator == ">=", each
        assert Version(least.version) == pins[canonicalize_name(each.name)], each
