"""The parameters of all public names are those of tests/signatures.txt, so that a review sees every change of them.

`python tests/test_signatures.py` writes the file anew.
"""

import inspect
from pathlib import Path

from test_examples import PUBLIC

SNAPSHOT = Path(__file__).parent / "signatures.txt"


def _parameters(function):
    """Return the names, kinds and defaults of a function's parameters, without annotations."""
    signature = inspect.signature(function)
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))


def _members(cls):
    """Yield the public methods and properties of a class and of its private bases, by name."""
    bases = [base for base in cls.__mro__ if base.__module__.startswith("untrained") and base not in PUBLIC.values()]
    members = {name: member for base in [*bases, cls] for name, member in vars(base).items()}
    for name, member in sorted(members.items()):
        if name.startswith("_"):
            continue
        if isinstance(member, staticmethod | classmethod):
            member = member.__func__
        # Torch's optimizers wrap `step` of a class when its first instance is made.
        if inspect.isfunction(member) and member.__module__.startswith("untrained"):
            yield name + _parameters(member)
        elif isinstance(member, property):
            yield name


def signatures() -> str:
    """Return one line for each public function, class, method and property."""
    lines = []
    for name, each in sorted(PUBLIC.items()):
        lines.append(name if inspect.isclass(each) and issubclass(each, Exception) else name + _parameters(each))
        lines += [f"  .{member}" for member in _members(each)] if inspect.isclass(each) else []
    return "\n".join(lines) + "\n"


def test_public_signatures_are_those_that_were_reviewed():
    assert signatures() == SNAPSHOT.read_text(encoding="utf-8"), "run `python tests/test_signatures.py`, and review it"


if __name__ == "__main__":
    SNAPSHOT.write_text(signatures(), encoding="utf-8")
