"""The rules of the house that a machine can check."""

import ast
import subprocess
import sys
from pathlib import Path

import untrained

SOURCE = Path(untrained.__file__).parent
# Data flows seed → weights → scores → choice → ticket → run; a file may import only from rooms before its own.
ROOMS = [
    "_version",
    "files",
    "units",
    "weights",
    "select",
    "methods",
    "masked",
    "attach",
    "codec",
    "models",
    "header",
    "digest",
    "ticket",
    "cost",
    "splits",
    "file_formats",
    "downloads",
    "sources",
    "image_folders",
    "batches",
    "data",
    "evaluation",
    "recipe",
    "progress",
    "checkpoint",
    "search",
    "plot",
    "settings",
    "experiment",
    "wann",
    "cli",
    "__main__",
]


def _imports(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "untrained":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("untrained."):
            yield node.module.split(".")[1]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("untrained."))


def test_imports_follow_the_flow_only():
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in ROOMS, f"{path.name} has no place in the flow"
        for imported in _imports(ast.parse(path.read_text())):
            assert ROOMS.index(imported) <= ROOMS.index(room), f"{path.name} imports {imported}, which comes after it"


def test_no_public_name_hides_a_file():
    # Importing untrained.x binds untrained.x to the module, so a function of that name would come and go.
    files = {path.stem for path in SOURCE.iterdir()}
    assert {name for name in untrained.__all__ if name in files} == {"models"}


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
        "print(sorted({'matplotlib', 'PIL', 'pooch', 'scipy', 'constriction'} & set(sys.modules)))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"


def test_the_library_stays_small():
    assert sum(len(path.read_text().splitlines()) for path in SOURCE.rglob("*.py")) < 6_000
