"""What strangers find around the code: the package's metadata and licences, and the files that a forge reads."""

import email
import importlib.util
import re
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
REPOSITORY = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["custom"]["repository"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel: its metadata, and the text of each file in its dist-info."""
    build = pytest.importorskip("hatchling.builders.wheel")
    (path,) = build.WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"]
    )
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
        texts = {
            name.split(".dist-info/")[1]: file.read(name).decode() for name in names if ".dist-info/licenses/" in name
        }
        (metadata,) = (file.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    return email.message_from_string(metadata), texts, names


def test_all_licences_are_named_and_their_texts_are_there(wheel):
    metadata, texts, names = wheel
    assert metadata["License-Expression"] == "Apache-2.0 AND BSD-3-Clause AND CC-BY-4.0"
    first = {name: "\n".join(text.splitlines()[:20]) for name, text in texts.items()}
    assert sorted(first) == sorted(f"licenses/{name}" for name in PROJECT["project"]["license-files"])
    assert "Apache License" in first["licenses/LICENSE"]
    assert "University of Washington Interactive Data Lab" in first["licenses/src/untrained/report/vega/LICENSE"]
    digits = first["licenses/src/untrained/data/digits.LICENSE"]
    assert "Alpaydin" in digits and "Attribution 4.0 International" in digits
    others = {name for name in names if "LICENSE" in name and ".dist-info" not in name}
    assert others == {name.removeprefix("src/") for name in PROJECT["project"]["license-files"]} - {"LICENSE"}


def test_addresses_come_from_one_place_and_the_readme_works_elsewhere(wheel):
    metadata, _, _ = wheel
    assert {address.split(", ")[1].startswith(REPOSITORY) for address in metadata.get_all("Project-URL")} == {True}
    readme = metadata.get_payload()
    targets = re.findall(r"(!?)\[[^\]]*\]\(([^)]*)\)", re.sub(r"^```.*?^```$", "", readme, flags=re.M | re.S))
    assert len(targets) > 20 and all(target.startswith("https://") for _, target in targets)
    ours = [(kind, target.removeprefix(REPOSITORY)) for kind, target in targets if target.startswith(REPOSITORY)]
    assert {kind or "page" for kind, _ in ours} == {"!", "page"}
    for kind, target in ours:
        assert target.startswith("/raw/main/" if kind else "/blob/main/")
        assert (ROOT / re.sub(r"^/\w+/main/|#.*", "", target)).is_file(), target
    assert "data.batches" in readme and readme.count("\n```") == (ROOT / "README.md").read_text("utf-8").count("\n```")


def test_a_readme_keeps_its_code_and_whole_addresses():
    pytest.importorskip("hatchling")
    spec = importlib.util.spec_from_file_location("hatch_readme", ROOT / "hatch_readme.py")
    spec.loader.exec_module(hook := importlib.util.module_from_spec(spec))
    text = "![a](b.png) [c](d.md#e) [f](#g) [h](https://i.org)\n\n```python\nx[0](y)\n```\n\n[j](k/l.md)\n"
    assert hook.with_addresses(text, "R") == (
        "![a](R/raw/main/b.png) [c](R/blob/main/d.md#e) [f](#g) [h](https://i.org)\n\n"
        "```python\nx[0](y)\n```\n\n[j](R/blob/main/k/l.md)\n"
    )


def _yaml(path):
    return pytest.importorskip("yaml").safe_load((ROOT / path).read_text(encoding="utf-8"))


def test_the_workflow_runs_what_everybody_runs_on_each_system_and_python():
    (job,) = _yaml(".github/workflows/test.yml")["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"} and job["defaults"]["run"]["shell"] == "bash"
    assert [name.split("-")[0] for name in job["strategy"]["matrix"]["os"]] == ["ubuntu", "macos", "windows"]
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons == [f"3.{minor}" for minor in range(11, 15)]
    assert PROJECT["project"]["requires-python"] == f">={pythons[0]}"
    assert job["env"]["PIP_EXTRA_INDEX_URL"] == "https://download.pytorch.org/whl/cpu"


def test_a_release_is_built_checked_and_published_without_a_password():
    jobs = _yaml(".github/workflows/release.yml")["jobs"]
    text = (ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text and "password" not in text.split("name: release")[1]
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["steps"][-1]["uses"].startswith("pypa/gh-action-pypi-publish@")


def test_forms_and_hooks_can_be_read():
    for name in ("bug", "idea"):
        form = _yaml(f".github/ISSUE_TEMPLATE/{name}.yml")
        assert {"name", "description", "body"} <= form.keys()
        assert all(field["attributes"]["label"] for field in form["body"])
    (repo,) = _yaml(".pre-commit-config.yaml")["repos"]
    assert f"ruff=={repo['rev'].removeprefix('v')}" in (ROOT / "constraints.txt").read_text("utf-8").splitlines()


def test_the_citation_says_what_the_package_says(wheel):
    cite = _yaml("CITATION.cff")
    assert cite["repository-code"] == REPOSITORY
    assert [{"name": author["name"]} for author in cite["authors"]] == PROJECT["project"]["authors"]
    assert " AND ".join(cite["license"]) == PROJECT["project"]["license"]
    readme = wheel[0].get_payload()
    assert all(paper["title"] in readme and paper["url"][-10:] in readme for paper in cite["references"])


def test_the_placeholder_stands_nowhere_else():
    if "THE_OWNER" not in REPOSITORY:
        return
    texts = [*ROOT.glob("*.*"), *(ROOT / "docs").glob("*.md"), *(ROOT / ".github").rglob("*.*")]
    named = {path.name for path in texts if path.is_file() and b"THE_OWNER" in path.read_bytes()}
    assert named == {"pyproject.toml", "CITATION.cff"}
