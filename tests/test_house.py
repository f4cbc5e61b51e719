"""The rules of the house that a machine can check."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import untrained

SOURCE = Path(untrained.__file__).parent
# Data flows seed → weights → scores → choice → ticket → run; a file may import only from rooms before its own.
ROOMS = [
    "_version",
    "files",
    "printing",
    "progress",
    "native",
    "fields",
    "memory",
    "units",
    "weights",
    "source",
    "schedules",
    "select",
    "effective",
    "recipe",
    "methods",
    "mask_state",
    "masked",
    "roles",
    "choosing",
    "attach",
    "bake",
    "optim",
    "advance",
    "densities",
    "codec",
    "straight",
    "models",
    "header",
    "digest",
    "contents",
    "ticket",
    "packed",
    "cost",
    "splits",
    "file_formats",
    "downloads",
    "sources",
    "image_files",
    "image_folders",
    "batches",
    "data",
    "labels",
    "evaluation",
    "checkpoint",
    "trace",
    "search",
    "run",
    "run_weights",
    "grid",
    "tables",
    "plot",
    "settings",
    "spelling",
    "bench",
    "export",
    "run_folder",
    "lab",
    "report",
    "experiment",
    "comparison",
    "sweeping",
    "testing",
    "wann",
    "cli",
    "__main__",
]
# The rooms of the wing for weight agnostic networks: networks → tasks → genomes → search → run.
WANN_ROOMS = [
    "jit",
    "activations",
    "packed",
    "vector_math",
    "net",
    "net_file",
    "levels",
    "net_layout",
    "draw",
    "export_networkx",
    "export_onnx",
    "export_python",
    "export_torch",
    "champions",
    "task",
    "rollout",
    "control",
    "environments",
    "losses",
    "examples",
    "supervised",
    "image_tasks",
    "tables",
    "episodes",
    "gym_answers",
    "gymnasium_backend",
    "envpool_backend",
    "gymnasium_task",
    "named_tasks",
    "presets",
    "ranking",
    "genome",
    "archive",
    "evaluation",
    "search",
    "checkpoint",
    "gradient",
    "tune",
    "draw_run",
    "progress",
    "settings",
    "report",
    "experiment",
    "cli",
]


# The methods of a network and of a search lead to the files that do what they say, imported when called.
FACADES = ["packed", "net", "search"]


def _modules(tree: ast.AST):
    """Dotted names of our modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("untrained", "untrained.wann"):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("untrained."):
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("untrained."))


@pytest.mark.parametrize(("wing", "rooms"), [("", ROOMS), ("wann", WANN_ROOMS)])
def test_imports_follow_the_flow_only(wing, rooms):
    prefix = ".".join(["untrained", *([wing] if wing else [])]) + "."
    for path in (SOURCE / wing).rglob("*.py"):
        room = path.relative_to(SOURCE / wing).parts[0].removesuffix(".py")
        if room == "__init__" or (wing and room in FACADES):
            continue
        assert room in rooms, f"{path.name} has no place in the flow"
        for module in _modules(ast.parse(path.read_text())):
            if module.startswith(prefix):
                imported = module.removeprefix(prefix).split(".")[0]
                assert rooms.index(imported) <= rooms.index(room), f"{path.name} imports {imported}, which comes after"


def test_no_public_name_hides_a_file():
    # Importing untrained.x binds untrained.x to the module, so a function of that name would come and go.
    files = {path.stem for path in SOURCE.iterdir()}
    assert {name for name in untrained.__all__ if name in files} == {
        "export", "models", "optim", "packed", "plot", "testing", "wann",
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
        "print(sorted({'matplotlib', 'PIL', 'pooch', 'scipy', 'constriction', 'numba'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def _lines(folder):
    return sum(len(path.read_text().splitlines()) for path in folder.rglob("*.py"))


def test_the_library_stays_small():
    limits = {"methods": 2_000, "wann": 6_700, "native": 1_150, "export": 650, "report": 800, "plot": 1_000}
    sizes = {wing: _lines(SOURCE / wing) for wing in limits}
    assert _lines(SOURCE) - sum(sizes.values()) < 11_100
    assert not {wing: size for wing, size in sizes.items() if size >= limits[wing]}


def test_a_method_is_a_page_or_two():
    for path in (SOURCE / "methods").glob("*.py"):
        assert len(path.read_text().splitlines()) < 220, path.name


def test_the_least_versions_are_those_that_are_tested():
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (root / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    pins = {canonicalize_name(name): Version(version) for name, version in pins.items()}
    extras = project["optional-dependencies"]
    untested = {"all", "box2d", "dev", "docs"}  # box2d's Gymnasium is newer than wann's
    asked = [*project["dependencies"], *(each for extra in extras.keys() - untested for each in extras[extra])]
    for each in map(Requirement, asked):
        (least,) = each.specifier
        assert least.operator == ">=", each
        assert Version(least.version) == pins[canonicalize_name(each.name)], each
