"""Networks that our searches found, which come with the package; each file has the command that found it."""

from __future__ import annotations

from importlib.resources import as_file, files

from untrained.wann.networks.net import Net


def champions() -> dict[str, Net]:
    """Return the networks that our searches found, by the names of their tasks.

    "NAME-tuned" is the network of NAME with a tuned weight for every connection. `meta` has the command, the seed and
    the version that found a network, and its scores. The networks that the authors of WANN released are not among
    them; `read_champion` reads those.

    Example:
        >>> net = wann.champions()["cartpole"]
        >>> net.inputs, net.outputs, net.meta["command"]
        (4, 1, 'untrained wann --task cartpole')
    """
    found = {}
    for file in (files("untrained.wann") / "champions").iterdir():
        name, dot, ending = file.name.partition(".")
        if dot + ending == ".json":
            with as_file(file) as path:
                found[name] = Net.load(path)
    return dict(sorted(found.items()))
