"""The examples in docstrings run, every public name has one, and first lines are plain sentences."""

import ast
import doctest
import inspect
from pathlib import Path

import pytest
import torch

import untrained as ut

PUBLIC_MODULES = [ut, *(getattr(ut, name) for name in "export models optim packed plot sklearn testing wann".split())]


def _public():
    """Yield (dotted name, function or class) of every public name."""
    for module in PUBLIC_MODULES:
        names = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        for name in names:
            each = getattr(module, name)
            documented = inspect.isclass(each) or inspect.isfunction(each)
            own = each.__module__.startswith(module.__name__) if documented else False
            if own or (module in (ut.wann, ut.sklearn) and documented):
                yield f"{module.__name__}.{name}", each


PUBLIC = dict(_public())


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_has_an_example_that_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]) or "")
    assert examples, f"{name} has no example"
    assert sum(each.source.count("\n") for each in examples) <= 6
    names = {"ut": ut, "torch": torch, "nn": torch.nn, "wann": ut.wann}
    test = doctest.DocTest(examples, names, name, None, None, None)
    failed, _ = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
    assert not failed, f"{name}: its example does something else, see above"


# A docstring is looked up by its first line: a verb, or a noun of the field.
_RIDDLES = {"What", "How", "One", "Whether", "Of", "Those", "That", "Where", "Which", "Who"}


SOURCE = Path(ut.__file__).parent


@pytest.mark.parametrize("path", sorted(each.relative_to(SOURCE).as_posix() for each in SOURCE.rglob("*.py")))
def test_the_first_lines_of_docstrings_are_plain_sentences(path):
    faults = []
    for node in ast.walk(ast.parse((SOURCE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            first = text.splitlines()[0]
            if first.split()[0].strip("`,.:;") in _RIDDLES or not first.endswith((".", ":")):
                faults.append(f"{getattr(node, 'name', path)}: {first}")
    assert not faults
