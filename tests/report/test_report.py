"""The page about a run: what it shows is what the run has left, whatever state that is in."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import untrained as ut
from browsing import LOOKS, check_page
from untrained.cli import main
from untrained.data.splits import Split
from untrained.report import charts, pixels
from untrained.report.page import Chart, Section, render
from untrained.runs import film
from untrained.runs.run import read_run, write_answers
from untrained.search.evaluation import Answers
from untrained.search.trace import Trace, choose_samples, count_flips

HOSTILE = "</script><script>alert(1)</script><b onclick='x'>$\\frac$\x1b[31m"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished run of `find`."""
    folder = tmp_path_factory.mktemp("report") / "run"
    ut.find(epochs=4, widths=(40, 20), keep=0.3, out=folder)
    return folder


@pytest.fixture
def run(found, tmp_path):
    """A copy of it, to damage."""
    return shutil.copytree(found, tmp_path / "run")


@pytest.fixture(scope="module")
def spoilt(found):
    """A copy whose trace is written again and again."""
    return shutil.copytree(found, found.parent / "spoilt")


def _trace(folder):
    return [json.loads(line) for line in (folder / "trace.jsonl").read_text().splitlines()]


def test_the_trace_says_what_metrics_and_ticket_say(found):
    lines, ticket = _trace(found), ut.Ticket.load(found / "found.ticket")
    rows = [json.loads(line) for line in (found / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2, 3, 4]
    sizes = {name: codes.numel() for name, codes in ticket.codes.items()}
    for line, row in zip(lines[1:], rows, strict=True):
        flipped = sum(sizes[name] * each["flips"] for name, each in line["tensors"].items())
        assert flipped / sum(sizes.values()) == pytest.approx(row["flips"], abs=1e-5)
    for sample in read_run(found).samples:
        last = lines[-1]["tensors"][sample.name]
        mask = ticket.codes[sample.name] != 0
        assert last["kept"] == pytest.approx(float(mask.float().mean()), abs=1e-6)
        assert sum(last["scores"]["counts"]) == sizes[sample.name]
        digits = iter(last["edges"])
        for output in sample.outputs:
            for place in sample.inputs:
                assert next(digits) == ("9" if mask[output, place] else "0")


def test_the_page_names_the_machine_and_no_place(found):
    text = ut.write_report(found).read_text(encoding="utf-8")
    assert re.search(r"machine: .+, 1 thread, torch .+, (no )?kernels", text)
    assert "--keep 0.3" in text and str(found.parent) not in text


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=12),
    st.booleans(),
)
def test_samples_are_units_that_are_there(sizes, kernels):
    shapes = {f"t{number}": (*size, *([3, 3] if kernels else [])) for number, size in enumerate(sizes)}
    chosen = choose_samples(shapes)
    assert 1 <= len(chosen) <= 8
    for sample in chosen:
        outputs, inputs = shapes[sample.name][:2]
        assert len(set(sample.outputs)) == min(outputs, 16) and set(sample.outputs) <= set(range(outputs))
        assert set(sample.inputs) <= set(range(inputs // sample.group)) and inputs % sample.group == 0
        mask = torch.rand(shapes[sample.name]) < 0.4
        digits = iter(sample.edges(mask))
        for output in sample.outputs:
            for place in sample.inputs:
                group = mask[output, place * sample.group : (place + 1) * sample.group]
                digit, share = int(next(digits)), float(group.float().mean())
                assert (digit == 0) == (share == 0) and (digit == 9) == (share == 1)
                assert abs(digit / 9 - share) <= 1 / 9


def test_a_run_that_was_interrupted_has_the_trace_of_one_that_was_not(tmp_path, found):
    data = ut.load_data("digits")

    def searched(folder, *, stop):
        def on_epoch(epoch):
            if stop and epoch.number == 2:
                raise KeyboardInterrupt

        model = ut.mask_(ut.models.fc(widths=(20,), shape=data.shape), ut.EdgePopup(0.5), seed=1)
        ut.fit(model, data.batches("train", 64), epochs=4, out=folder, resume=not stop, on_epoch=on_epoch, title=None)

    searched(tmp_path / "whole", stop=False)
    with pytest.raises(KeyboardInterrupt):
        searched(tmp_path / "parts", stop=True)
    searched(tmp_path / "parts", stop=False)
    assert _trace(tmp_path / "whole") == _trace(tmp_path / "parts")


def test_flips_are_counted():
    before = {"a": torch.tensor([True, False, True, True]), "b": torch.tensor([False])}
    after = {"a": torch.tensor([False, False, True, False]), "b": torch.tensor([False])}
    assert count_flips(before, after) == (2 / 5, {"a": 0.5, "b": 0.0})


@pytest.mark.parametrize(("width", "dark"), LOOKS)
def test_the_page_is_readable(opened, found, width, dark):
    page = opened(found / "report.html", width=width, dark=dark)
    check_page(page)
    drawn = page.locator(".chart svg")
    assert drawn.count() == page.locator(".chart").count() == 1 + 4 + 1 + 3 + 1
    texts = page.locator("svg text").all_text_contents()
    for title in ("epoch", "accuracy on validation data, %", "loss on training data, nats", "score"):
        assert title in texts, title
    table = page.locator("table").first.inner_text()
    for name in ("random network", "random subnetwork", "found subnetwork", "trained twin"):
        assert name in table
    assert "untrained find --widths 40 20 --epochs 4 --keep 0.3" in page.inner_text("pre >> nth=0")


def test_the_slider_shows_the_edges_of_its_epoch(opened, found):
    page, lines = opened(found / "report.html"), _trace(found)
    section = page.locator("section", has=page.get_by_role("heading", name="The search, epoch by epoch"))
    lines_of_film = [json.loads(line) for line in (found / "film.jsonl").read_text().splitlines()]
    for epoch in (4, 0, 2):
        section.locator("input").fill(str(epoch))
        kept = sum(len(each["edges"].replace("0", "")) for each in lines[epoch]["tensors"].values())
        assert section.locator("g.mark-rule.role-mark line").count() == kept
        assert section.locator("output").inner_text() == ("first scores" if epoch == 0 else f"epoch {epoch}")
        assert section.locator(".counter").inner_text() == f"{100 * lines_of_film[epoch]['accuracy']:.1f} %"
        shares = [float(text.rstrip(" %")) for text in section.locator("#bars .number").all_text_contents()]
        assert shares == pytest.approx([100 * share for share in lines_of_film[epoch]["answer"]], abs=0.06)
    section.get_by_role("button").click()
    page.wait_for_function("document.querySelector('.steps output').textContent !== 'epoch 2'")


def test_it_plays_by_itself_from_the_first_scores_unless_motion_is_not_wanted(opened, found):
    page = opened(found / "report.html")
    page.clock.install(time=0)
    page.clock.pause_at(1000)
    page.reload()
    places = [page.locator("output").first.inner_text() for _ in range(2) if page.clock.run_for(1100) is None]
    assert places == ["epoch 1", "epoch 2"]
    still = opened(found / "report.html", reduced_motion="reduce")
    assert still.locator("output").first.inner_text() == "epoch 4"


def test_the_film_says_what_metrics_ticket_and_network_say(found):
    run, data = read_run(found), ut.load_data("digits")
    assert [line["accuracy"] for line in run.film[1:]] == [row["val_accuracy"] for row in run.rows]
    fresh = ut.mask_(ut.models.fc((40, 20), data.shape), ut.EdgePopup(0.3), seed=0)
    assert run.film[0]["accuracy"] == ut.evaluate(fresh, data.batches("val", 500)).accuracy
    image, label = next(iter(data.batches("test", 1)))
    answer = ut.load(found / "found.ticket")(image).softmax(1)[0]
    assert torch.tensor(run.film[-1]["answer"]) == pytest.approx(answer, abs=1e-4)
    assert torch.equal(film.read_image(run.film[0]), data.test.images[:1][0]) and run.film[0]["label"] == label
    bits = film.unpack(run.film[-1]["mask"], 24 * 64)
    assert torch.equal(torch.tensor(bits), (run.ticket.codes["fc1.weight"][:24] != 0).int().flatten())


ODD_LINES = [{"accuracy": 2}, {"accuracy": "x"}, {"answer": [0.5]}, {"answer": [None] * 10}, {"mask": "AA"},
             {"mask": 7, "accuracy": None}, {"image": {"shape": [1, 9, 9], "pixels": "AA"}, "label": 99},
             {"image": {"shape": [1, 10**9, 1], "pixels": "!"}, "label": HOSTILE}]  # fmt: skip


def test_no_film_that_somebody_wrote_breaks_the_page(spoilt, opened):
    first = json.loads((spoilt / "film.jsonl").read_text().splitlines()[0])
    for number, odd in enumerate(ODD_LINES):
        (spoilt / "film.jsonl").write_text(json.dumps(first | odd) + "\n")
        page = ut.write_report(spoilt).read_text()
        assert "Size of the ticket" in page and ("film.jsonl is damaged" in page) == (number in (0, 1, 3))
    opened(spoilt / "report.html")
    (spoilt / "film.jsonl").unlink()
    assert "epoch by epoch" not in ut.write_report(spoilt).read_text()


def test_a_link_to_a_page_shows_what_it_is(found):
    for name, title in (
        ("report", "fc on digits: a subnetwork"),
        ("found", "digits: a network that was never trained"),
    ):
        page = (found / f"{name}.html").read_text()
        for place in ("<title>", '<meta property="og:title" content="'):
            assert f"{place}{title}" in page
        (said,) = re.findall('<meta property="og:description" content="(.*?)">', page)
        assert "random" in said and re.search('<link rel="icon" href="data:image/svg[^"<]{300,}">', page)


def test_equal_bars_are_a_sentence_and_an_axis_says_where_it_begins(found):
    page = (found / "report.html").read_text()
    assert "Every layer keeps 30.0% of its weights." in page and "weights kept, %" not in page
    low, high = (int(end) for end in re.search(r"closer: the axis goes from (\d+) to (\d+) %", page).groups())
    late = [100 * row["val_accuracy"] for row in (*read_run(found).rows[2:], *read_run(found).twin[2:])]
    assert low <= min(late) and max(late) <= high and high - low < max(late) - min(late) + 2


def test_what_others_call_their_classes_is_text(run, opened, tmp_path):
    ticket = ut.Ticket.load(run / "found.ticket")
    meta = {**ticket.meta, "labels": [HOSTILE] * 10, "data": HOSTILE}
    ut.Ticket(**{**vars(ticket), "meta": meta}).save(run / "found.ticket")
    page = opened(ut.write_report(run))
    check_page(page)
    assert page.locator("b").count() == 0 and "<b onclick=" in page.inner_text("main")


# Names that JavaScript's objects have before anybody puts them in, and names that are hard to write.
NAMES = ["constructor", "__proto__", "toString", "hasOwnProperty", "", "\x00\x1b[31m\n\ud800", "var(--ink)"]
NAMES += ["\u202e\u0634\u062a\u0631\u200c\u0645\u0631\u063a", "\U0001f469\u200d\U0001f52c", "x" * 10_000]


@pytest.mark.parametrize(("width", "dark"), [(320, False), (1400, True)])
def test_whatever_classes_are_called_every_chart_is_drawn(run, opened, width, dark):
    ticket = ut.Ticket.load(run / "found.ticket")
    ut.Ticket(**{**vars(ticket), "meta": {**ticket.meta, "labels": NAMES}}).save(run / "found.ticket")
    page = opened(ut.write_report(run), width=width, dark=dark)
    check_page(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count()
    chart = page.locator("section", has=page.get_by_role("heading", name="Mistakes")).locator(".chart svg")
    assert chart.locator("g.mark-rect.role-mark path").count() == 100
    texts = chart.locator("g.role-axis-label text").all_text_contents()
    for number, start in enumerate(
        [": construc", ": __proto_", ": toString", ": hasOwnPr", "", ": \ufffd", ": var(--in"]
    ):
        assert sum(text.startswith(f"{number}{start}") for text in texts) == 2, number


def test_whatever_layers_are_called_each_has_its_bar(opened, tmp_path):
    names = [*NAMES, "encoder.layers.0.self_attention.query", "encoder.layers.0.self_attention.value"]
    run = SimpleNamespace(kept={f"{name}.weight": 0.5 for name in names})
    (tmp_path / "a.html").write_text(
        render("", [], [Section("", charts=[Chart("", charts.kept(run))])]), encoding="utf-8"
    )
    bars = opened(tmp_path / "a.html").locator("g.mark-rect.role-mark path")
    assert len({bar.get_attribute("d") for bar in bars.all()}) == len(names)


@pytest.mark.parametrize("fault", [{"mark": "no such mark"}, {"transform": [{"calculate": "no_such()", "as": "a"}]}])
def test_a_chart_that_cannot_be_drawn_does_not_keep_others_from_it(opened, tmp_path, fault):
    good = {"data": {"values": [{"a": 1}]}, "mark": "bar", "encoding": {"x": {"field": "a", "type": "quantitative"}}}
    shown = [Chart("broken", {**good, **fault}), Chart("whole", good)]
    (tmp_path / "a.html").write_text(render("", [], [Section("", charts=shown)]), encoding="utf-8")
    page = opened(tmp_path / "a.html")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(50)
        said, drawn = (place.inner_text() for place in page.locator(".chart").all())
        assert re.match("This chart cannot be drawn here: .", said) and "This chart" not in drawn
        assert page.locator(".chart svg").count() == 1


def test_a_thousand_classes_are_readable(run, opened):
    ticket, labels = ut.Ticket.load(run / "found.ticket"), torch.arange(1000).repeat(3)
    meta = {**ticket.meta, "labels": [f"a rather long name of class {number}" for number in range(1000)]}
    ut.Ticket(**{**vars(ticket), "meta": meta}).save(run / "found.ticket")
    said = Answers(labels, labels.roll(1), torch.rand(3000))
    write_answers(run, said, Split(torch.zeros(3000, 1, 8, 8, dtype=torch.uint8), labels))
    path = ut.write_report(run)
    page = opened(path, width=400)
    check_page(page)
    assert "20 of 1,000 classes" in page.inner_text("main") and path.stat().st_size < 2_000_000


FILES = ["metrics.jsonl", "trace.jsonl", "answers.safetensors", "results.json", "config.toml"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "other", "nested"])
def test_a_run_with_a_damaged_file_is_shown_without_it(run, name, damage):
    path = run / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        others = {"empty": b"", "cut": content[: len(content) // 2], "nested": b"[" * 100_000}
        path.write_bytes(others.get(damage, b'{"epoch": 1, "tensors": 3, "networks": {"a": []}}\n'))
    page = ut.write_report(run).read_text()
    assert "Size of the ticket" in page
    harmless = name == "config.toml" or (damage, name) in (("empty", "metrics.jsonl"), ("empty", "trace.jsonl"))
    assert harmless or read_run(run).gaps or (damage, name) in (("other", "metrics.jsonl"), ("other", "trace.jsonl"))


HUGE = 10**400
SHARES = {"accuracy": 0.1, "val_accuracy": 0.1, "seconds": None}
ROW = {"name": "random network", "weights": 1, "kept": 1, "file_bytes": 1, **SHARES}
ABSURD = [
    {
        "metrics.jsonl": {"epoch": 1, "val_accuracy": HUGE, "val_loss": 1e308, "train_loss": True},
        "twin/metrics.jsonl": {"epoch": 1, "val_accuracy": HUGE},
        "results.json": {"networks": [ROW | {"val_accuracy": float("nan")}]},
    },
    {
        "metrics.jsonl": {"epoch": -1, "val_accuracy": 0.5},
        "results.json": {"networks": [ROW | {"val_accuracy": 1e308, "kept": -3}]},
    },
]


@pytest.mark.parametrize("files", ABSURD)
def test_absurd_numbers_are_left_out(run, opened, files):
    for name, line in files.items():
        (run / name).write_text(json.dumps(line) + "\n")
    page = opened(ut.write_report(run))
    assert page.locator(".chart svg").count() == page.locator(".chart").count() > 3


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels", lambda t: t[:, None].expand(-1, 3)),
        ("labels", lambda t: 0.9 * t),
        ("labels", lambda t: t - 1),
        ("probability", lambda t: t[:, None].expand(-1, 2)),
        ("probability", lambda t: t * float("nan")),
        ("worst", lambda t: t[:, None]),
        ("worst", lambda t: t - 10_000),
        ("images", lambda t: t[:, :0]),
        ("images", lambda t: t[:, :, :, :0]),
    ],
)
def test_answers_of_another_form_are_not_shown(run, name, change):
    path = run / "answers.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    tensors[name] = change(tensors[name]).contiguous()
    path.write_bytes(safetensors.torch.save(tensors))
    assert "answers.safetensors is damaged" in ut.write_report(run).read_text()


def test_no_export_overwrites_its_ticket(run, capsys):
    before = (run / "found.ticket").read_bytes()
    with pytest.raises(SystemExit):
        main(["export", str(run / "found.ticket"), "--to", "torch", "--out", str(run / "found.ticket")])
    assert "is the ticket itself" in capsys.readouterr().err and (run / "found.ticket").read_bytes() == before


@given(st.data())
@settings(max_examples=40)
def test_no_trace_that_somebody_wrote_breaks_the_page(spoilt, data):
    line = _trace(spoilt.parent / "run")[1]
    tensor = data.draw(st.sampled_from(sorted(line["tensors"])))
    key = data.draw(st.sampled_from(["kept", "flips", "scores", "edges"]))
    histograms = [{"low": 0, "high": high, "counts": [1] * 40} for high in ("a", HUGE)]
    odd = [None, "x", "9", "٣" * 256, 1e308, -1, [], {}, *histograms]
    line["tensors"][tensor][key] = data.draw(st.sampled_from(odd))
    (spoilt / "trace.jsonl").write_text(json.dumps(line) + "\n")
    assert "Size of the ticket" in ut.write_report(spoilt).read_text()


def test_without_a_ticket_there_is_nothing_to_show(run, capsys):
    (run / "found.ticket").write_bytes(b"no")
    with pytest.raises(SystemExit) as stopped:
        main(["report", str(run)])
    (run / "found.ticket").unlink()
    with pytest.raises(SystemExit):
        main(["report", str(run)])
    assert stopped.value.code == 2
    says = capsys.readouterr().err
    assert "found.ticket" in says and "there is no found.ticket in it" in says


def test_a_run_of_fit_alone_is_shown(tmp_path):
    data = ut.load_data("digits")
    model = ut.mask_(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)), ut.EdgePopup(0.5), seed=0)
    ut.fit(model, data.batches("train", 64), epochs=1, out=tmp_path, title=None)
    page = ut.write_report(tmp_path).read_text()
    assert "The subnetwork" in page and "untrained verify" in page


def test_a_long_run_of_conv4_is_no_large_page(tmp_path, opened):
    model = ut.mask_(ut.models.conv4(), ut.EdgePopup(0.5), seed=0)
    trace, masks, generator = Trace.of(model), ut.masks(model), torch.Generator().manual_seed(0)
    for epoch in range(51):
        trace.add(epoch, model, masks, dict.fromkeys(masks, 0.1))
        masks = {name: torch.rand(mask.shape, generator=generator) < 0.5 for name, mask in masks.items()}
    trace.write(tmp_path)
    ut.save(model, tmp_path / "found.ticket")
    rows = [{"epoch": n, "train_loss": 1.0, "val_loss": 1.0, "val_accuracy": 0.5} for n in range(1, 51)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path = ut.write_report(tmp_path)
    assert path.stat().st_size <= 5_000_000
    assert opened(path).locator("g.mark-rule.role-mark line").count() > 500


def test_pixels_come_back(chromium):
    image = torch.randint(256, (3, 5, 7), dtype=torch.uint8)
    page = chromium.new_page()
    got = page.evaluate(
        """async source => {
            const image = new Image(); image.src = source; await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height), context = canvas.getContext("2d");
            context.drawImage(image, 0, 0);
            return [...context.getImageData(0, 0, image.width, image.height).data];
        }""",
        pixels.photograph(image),
    )
    page.close()
    assert torch.equal(torch.tensor(got).view(5, 7, 4)[..., :3].permute(2, 0, 1), image.int())


def test_the_confusion_counts_every_answer(found):
    run = read_run(found)
    spec, shown = charts.confusion(run)
    assert shown == 10
    for value in spec["data"]["values"]:
        right, said = int(value["label"]), int(value["predicted"])
        assert value["n"] == sum(
            (a, b) == (right, said)
            for a, b in zip(run.answers.labels.tolist(), run.answers.predicted.tolist(), strict=True)
        )
