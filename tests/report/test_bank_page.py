"""The page about a bank: readable with few and many tasks, with facts and without, and whatever tasks are called."""

import pytest
import torch

import untrained as ut
from browsing import LOOKS, check_page
from untrained.bank.summary import BankSummary
from untrained.cli import main
from untrained.masking.mask import record
from untrained.report.bank_page import render_bank, write_bank_report

HOSTILE = ["</script><b onclick='x'>", "constructor", "__proto__", "x" * 200, "var(--ink)", "\u0634\u062a\u0631"]


def _bank(count, names=(), **facts):
    bank = ut.Bank(ut.models.fc((12, 8), norm="batch", shape=(1, 5, 5)), seed=3)
    model = bank.masked(ut.RandomSubnetwork(keep=0.5))
    for number in range(count):
        with torch.no_grad():
            for state in record(model).states:
                state.scores.normal_(generator=torch.Generator().manual_seed(number))
        bank.add(names[number] if names else f"task {number}", model, meta={**facts})
    return bank


@pytest.fixture
def written(tmp_path):
    """A function that writes the page about a bank."""

    def write(bank):
        found = BankSummary.of(bank.tasks)
        path = tmp_path / "page.html"
        path.write_text(render_bank(bank.tasks, found, found.total("file_bytes") + 99), encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(("count", "width", "dark"), [(3, *LOOKS[0]), (60, *LOOKS[1])])
def test_the_page_is_readable(opened, written, count, width, dark):
    page = opened(written(_bank(count, accuracy=0.9, shape=[1, 5, 5])), width=width, dark=dark)
    check_page(page)
    assert page.locator(".chart svg").count() == page.locator(".chart").count() == 3
    texts = page.locator("svg text").all_text_contents()
    for title in ("accuracy, %", "overlap, %", "bytes", "the bank", "int8 models"):
        assert title in texts, title
    cells = page.locator(".chart").nth(1).locator("g.mark-rect.role-mark path").count()
    assert cells == min(count, 40) * (min(count, 40) - 1)
    text = page.inner_text("main")
    assert (
        f"{count} tasks" in text
        and "The mean is 90.00 %" in text
        and "`untrained bank eval --infer` measures it" in text
    )
    assert ("Shown are the 40 of 60 tasks" in text) == (count == 60) and "chance gives 33.3 %" in text
    assert page.locator(".images img").count() == 11 * (1 + min(count, 4))


def test_one_task_without_facts_has_a_page(opened, written):
    page = opened(written(_bank(1)), width=400)
    check_page(page)
    text = page.inner_text("main")
    assert "No task's facts have an accuracy." in text and "Overlap" not in text and "The first layer" not in text
    assert page.locator(".chart svg").count() == 1


def test_whatever_tasks_are_called_they_are_text(opened, written):
    page = opened(written(_bank(len(HOSTILE), HOSTILE, accuracy=0.5, shape=["a", None, 3])), width=400)
    check_page(page)
    assert page.locator("b").count() == 0 and "</script><b onclick='x'>" in page.inner_text("main")
    assert page.locator(".chart").first.locator("g.mark-rect.role-mark path").count() == len(HOSTILE)


def test_the_overlaps_of_the_page_are_those_of_the_bank(written):
    bank = _bank(2)
    share = float(bank.overlap()[0, 1])
    text = written(bank).read_text(encoding="utf-8")
    assert f"<td>{share:.1%}</td>" in text and str(100 * share) in text


def test_tasks_that_mask_other_tensors_have_no_overlap(written):
    bank = _bank(0)
    for name in ("fc1.weight", "fc2.weight"):
        bank.add(name, bank.masked(ut.EdgePopup(), where=name))
    assert "No two tasks mask a tensor in common." in written(bank).read_text(encoding="utf-8")


def test_networks_of_pretrained_weights_and_convolutions_have_a_page(written):
    bank = ut.Bank(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()), weights=None)
    bank.add("a", bank.masked(ut.EdgePopup()), meta={"accuracy": 1})
    text = written(bank).read_text(encoding="utf-8")
    assert "pretrained" in text and "The first layer" not in text
    drawn = ut.Bank(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten()))
    drawn.add("a", drawn.masked(ut.EdgePopup()))
    assert written(drawn).read_text(encoding="utf-8").count("<img") == 8


def test_the_command_writes_the_page_beside_the_file(tmp_path, capsys):
    path = tmp_path / "tasks.bank"
    _bank(3).save(path)
    main(["report", str(path)])
    page = tmp_path / "tasks.bank.html"
    assert capsys.readouterr().out.startswith(f"{page}: ") and f"{path.stat().st_size:,} bytes" in page.read_text()
    assert ut.write_report(path) == page


@pytest.mark.parametrize("damage", [b"", b"no bank", None])
def test_what_is_no_bank_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "tasks.bank"
    _bank(1).save(path)
    path.write_bytes(path.read_bytes()[:-3] if damage is None else damage)
    with pytest.raises(ut.TicketError, match=r"tasks\.bank: "):
        ut.write_report(path)
    assert not (tmp_path / "tasks.bank.html").exists()


@pytest.mark.parametrize("count", [1, 3, 60])
def test_the_page_shows_which_tasks_were_taken_for_which(opened, tmp_path, count):
    bank = _bank(count, accuracy=0.9)
    bank.save(tmp_path / "tasks.bank")
    inferred = torch.eye(count) * 0.75
    inferred[:, 0] += 0.25
    page = opened(write_bank_report(tmp_path / "tasks.bank", inferred), width=400)
    check_page(page)
    text, shown = page.inner_text("main"), min(count, 40)
    assert ("tasks that were mistaken most" in text) == (count == 60)
    assert f"Of the batches {float(inferred.diagonal().mean()):.1%} were taken for their own task" in text
    assert page.locator(".chart").last.locator("g.mark-rect.role-mark path").count() == shown**2
