"""Pictures of found networks: everything is on them, and no label or path breaks them."""

from __future__ import annotations

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from untrained.wann.networks.drawing import draw_net
from untrained.wann.networks.net import Net

pytest.importorskip("matplotlib")

HOSTILE = ("$x^{", "a\nb\t$", "l" * 500, "\x00\ud800\\frac{$", "", "_$_{}%&#")
WEIGHTS = np.linspace(-3, 3, 13)
SIX = (-2, -1, -0.5, 0.5, 1, 2)
ROWS = [
    {"generation": k, "best": float(k), "mean": float("nan") if k == 1 else k / 2, "connections": 2 + k, "more": None}
    for k in range(5)
]


def random_net(inputs: int, outputs: int, hidden: int, fan: int, *, tuned: bool = False, seed: int = 0, **how) -> Net:
    """Every node but one in five has up to `fan` sources among all nodes before it, outputs included."""
    rng = np.random.default_rng(seed)
    sources = [
        np.unique(rng.integers(0, inputs + 1 + k, 0 if rng.random() < 0.2 else fan)) for k in range(hidden + outputs)
    ]
    edge_ptr = np.cumsum([0, *map(len, sources)])
    weights = rng.normal(size=edge_ptr[-1]) if tuned else None
    act = rng.integers(1, 12, hidden + outputs)
    return Net(inputs, outputs, act, edge_ptr, np.concatenate(sources), weights, **how)


NETS = {
    "tiny": Net(1, 1, [1], [0, 1], [1]),
    "no connections": Net(2, 3, [1, 5, 11], [0, 0, 0, 0], []),
    "no hidden nodes": Net(3, 2, [1, 5], [0, 2, 4], [0, 2, 0, 4]),
    "an output feeds an output": Net(2, 2, [1, 5], [0, 1, 2], [1, 3]),
    "output without sources": Net(2, 2, [4, 1, 5], [0, 2, 3, 3], [1, 2, 3]),
    "same connection twice": Net(1, 1, [1], [0, 2], [1, 1]),
    "swing-up": random_net(5, 1, 29, 2),
    "tuned": random_net(5, 2, 20, 3, tuned=True),
    "tuned to nothing": random_net(5, 2, 4, 3).replace(weights=np.zeros(random_net(5, 2, 4, 3).connections)),
    "many inputs": random_net(70, 3, 60, 3),
    "digits": random_net(64, 10, 40, 3),
    "digits of bias alone": Net(64, 1, [1], [0, 1], [0]),
    "mnist": random_net(256, 10, 140, 4, labels=tuple("0123456789")),
}


def named(figure, gid):
    return next(artist for axes in figure.axes for artist in axes.collections if artist.get_gid() == gid)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@lru_cache
def drawn(name):
    """The figure of a network; laying out and drawing the large ones takes seconds."""
    return draw_net(NETS[name])


@pytest.mark.parametrize("name", NETS)
def test_every_node_and_connection_is_drawn(name: str) -> None:
    net, figure = NETS[name], drawn(name)
    assert len(named(figure, "connections").get_paths()) == net.connections
    assert len(named(figure, "nodes").get_paths()) == len(named(figure, "nodes-curves").get_paths()) == len(net.act)
    used = set(net.src[net.src <= net.inputs].tolist())
    shown = used | set(range(1, net.inputs + 1)) if net.inputs in (64, 256) else used
    assert len(named(figure, "inputs").get_paths()) == len(shown)
    assert ("bias" in texts(figure)) == (0 in used)
    assert any(f"{len(used - {0})} of {net.inputs} inputs" in text for text in texts(figure))


@pytest.mark.parametrize("name", NETS)
def test_all_lies_within_the_picture_and_nodes_apart(name: str) -> None:
    figure = drawn(name)
    axes = figure.axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert (right - left, top - bottom) == pytest.approx(tuple(figure.get_size_inches()))  # a unit is an inch
    points = [path.vertices for gid in ("connections", "nodes", "inputs") for path in named(figure, gid).get_paths()]
    points = np.concatenate(points)
    assert np.isfinite(points).all()
    assert (points > (left, bottom)).all() and (points < (right, top)).all()
    discs = np.array([path.get_extents().get_points() for path in named(figure, "nodes").get_paths()])
    centres, size = discs.mean(1), np.ptp(discs[0, :, 0])
    apart = np.linalg.norm(centres[:, None] - centres, axis=-1) + 9 * np.eye(len(centres))
    assert apart.min() > size
    box = figure.bbox
    boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
    assert all(box.x0 <= b.x0 and b.x1 <= box.x1 and box.y0 <= b.y0 and b.y1 <= box.y1 for b in boxes)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_connections_run_from_source_to_target() -> None:
    net, figure = NETS["swing-up"], drawn("swing-up")
    ends = [path.get_extents().get_points().mean(0) for path in named(figure, "nodes").get_paths()]
    targets = np.repeat(np.arange(len(net.act)), np.diff(net.edge_ptr))
    curves = named(figure, "connections").get_paths()
    starts: dict[int, tuple] = {}
    for source, target, curve in zip(net.src.tolist(), targets, curves, strict=True):
        assert np.allclose(curve.vertices[-1], ends[target], atol=0.25)
        assert starts.setdefault(source, tuple(curve.vertices[0])) == tuple(curve.vertices[0])
        if source > net.inputs:
            assert np.allclose(curve.vertices[0], ends[source - net.inputs - 1], atol=1e-6)


def test_layers_ascend_along_connections() -> None:
    for curve in named(drawn("mnist"), "connections").get_paths():
        x = curve.vertices[:, 0]
        assert (np.diff(x) > -1e-9).all() or len(x) == 4  # four: from output to output


def test_tuned_weights_show_as_width_and_colour() -> None:
    net = Net(2, 1, [1], [0, 3], [0, 1, 2], weights=[-1.0, 0.5, 2.0])
    lines = named(draw_net(net), "connections")
    widths = lines.get_linewidths()
    assert widths[0] > widths[1] > widths[2]  # the widest lies lowest
    plus, minus, other = (tuple(colour[:3]) for colour in lines.get_edgecolors())
    assert plus == other != minus
    assert {"weight > 0", "weight < 0"} <= set(texts(draw_net(net)))


def test_hostile_labels_are_text(tmp_path: Path) -> None:
    count = len(HOSTILE)
    net = Net(count, count, [1] * count, range(count + 1), range(1, count + 1), labels=HOSTILE)
    for ending in ("png", "svg", "pdf"):
        figure = draw_net(net, tmp_path / f"net.{ending}", names=HOSTILE)
    assert {"$x^{", "a b $", "_$_{}%&#"} <= set(texts(figure))
    assert max(map(len, texts(figure))) < 80


def test_accents_stay_with_their_letters() -> None:
    net = Net(2, 1, [1], [0, 2], [1, 2])
    figure = draw_net(net, names=("x\u0307", "θ\u0307"))  # the first is one character, of the other there is none
    assert {"ẋ", "θ\u0307"} <= set(texts(figure))
    plain, dotted = (
        next(text for text in draw_net(net, names=names).axes[0].texts if "θ" in text.get_text()).get_window_extent()
        for names in (("x", "θ"), ("x", "θ\u0307"))
    )
    assert abs(plain.width - dotted.width) < 3


def test_bad_paths_and_names(tmp_path: Path) -> None:
    net = NETS["tiny"]
    with pytest.raises(ValueError, match=r"'bmp' is not supported.* pdf, .*png, .*svg"):
        draw_net(net, tmp_path / "net.bmp")
    with pytest.raises(ValueError, match="'' is not supported"):
        draw_net(net, tmp_path / "net")
    with pytest.raises(FileNotFoundError, match="no folder"):
        draw_net(net, tmp_path / "nowhere" / "net.png")
    with pytest.raises(ValueError, match=r"names.*1.*2"):
        draw_net(net, names=("a", "b"))
    assert not list(tmp_path.iterdir())


def test_missing_matplotlib_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install .*\[plot\]"):
        draw_net(NETS["tiny"], tmp_path / "net.png")
