"""A checkpoint that is damaged, edited or of another model is refused by name, and then nothing at all is changed."""

import copy
import hashlib
import io
import json
import zipfile

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toy import masked, toy_data

import untrained as ut
from untrained.methods.recipe import Recipe
from untrained.search import checkpoint

PLAN = {"recipe": "r", "epochs": 4, "amp": False}
ROW = dict.fromkeys(("lr", "train_loss", "train_accuracy", "examples_per_second", "seconds"), 0.5)
ROWS = [{"epoch": 1, **ROW}, {"epoch": 2, **ROW}]


def kept(model, optimizers):
    """All that a restore may change."""
    return copy.deepcopy([model.state_dict(), [each.state_dict() for each in optimizers], torch.get_rng_state()])


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return a == b


def started(kind="sgd", steps=0, model=None):
    """A masked model, and an optimizer of its scores that has done some steps."""
    model = masked() if model is None else model
    recipe = Recipe(kind, lr=0.1, momentum=0.9)
    optimizer = recipe.build(ut.scores(model))
    x, y = next(iter(toy_data()()))
    for _ in range(steps):
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, [optimizer]


@pytest.fixture(scope="module", params=["sgd", "adam"])
def written(request, tmp_path_factory):
    """(kind of optimizer, the bytes of a checkpoint, what it holds)."""
    folder = tmp_path_factory.mktemp("run")
    with torch.random.fork_rng():
        model, optimizers = started(request.param, steps=3)
        checkpoint.write(folder, model, optimizers, PLAN, ROWS)
        return request.param, (folder / checkpoint.NAME).read_bytes(), kept(model, optimizers)


def hashed(state):
    """A checkpoint with these contents and the sha256 that they have."""
    file = io.BytesIO()
    torch.save(state, file)
    body = file.getvalue()[:-2] + (71).to_bytes(2, "little") + b"sha256 "
    return body + hashlib.sha256(body).hexdigest().encode()


def parts(data):
    return torch.load(io.BytesIO(data), weights_only=True)


def refused(folder, kind, data, says=None, **how):
    (folder / checkpoint.NAME).write_bytes(data)
    model, optimizers = started(kind, **how)
    before = kept(model, optimizers)
    with pytest.raises(ValueError, match=says) as refusal:
        checkpoint.restore(folder, model, optimizers, PLAN)
    assert str(folder / checkpoint.NAME) in str(refusal.value) and "\n" not in str(refusal.value)
    assert equal(kept(model, optimizers), before)


def test_what_was_written_is_restored(tmp_path, written):
    kind, data, state = written
    (tmp_path / checkpoint.NAME).write_bytes(data)
    with torch.random.fork_rng():
        model, optimizers = started(kind)
        assert checkpoint.restore(tmp_path, model, optimizers, PLAN) == ROWS
        assert equal(kept(model, optimizers), state)


@settings(max_examples=40)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_refused(tmp_path_factory, written, place, bit):
    kind, data, _ = written
    damaged = bytearray(data)
    damaged[int(place * len(data))] ^= 1 << bit
    refused(tmp_path_factory.getbasetemp(), kind, bytes(damaged), "a damaged one")


@pytest.mark.parametrize("size", [0, 1, 71, 500, -1, -64, -71, -73, -100])
def test_a_truncated_file_is_refused(tmp_path, written, size):
    kind, data, _ = written
    refused(tmp_path, kind, data[:size], "a damaged one")


@pytest.mark.parametrize("comment", [b"sha256 ", b"sha256 " + b"0" * 64, b"sha255 " + b"0" * 64, b"made by hand"])
def test_another_comment_is_no_sha256(tmp_path, written, comment):
    kind, data, _ = written
    changed = data[: -71 - 2] + len(comment).to_bytes(2, "little") + comment
    refused(tmp_path, kind, changed, "a damaged one")


def test_a_checkpoint_from_before_there_was_a_sha256_is_taken(tmp_path, written):
    kind, data, state = written
    old = io.BytesIO()
    torch.save(parts(data), old)
    (tmp_path / checkpoint.NAME).write_bytes(old.getvalue())
    with torch.random.fork_rng():
        model, optimizers = started(kind)
        assert checkpoint.restore(tmp_path, model, optimizers, PLAN) == ROWS
        assert equal(kept(model, optimizers), state)


def test_what_would_expand_is_refused(tmp_path, written):
    kind, data, _ = written
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
        new.writestr("archive/data/99", bytes(1 << 20))
    refused(tmp_path, kind, packed.getvalue(), "a damaged one")


def at(state, place):
    for key in place:
        state = state[key]
    return state


SCORES, FROZEN = ("model", "1.weight_mask.scores"), ("model", "1.weight_mask.frozen")
GROUP, NUMBER = ("optimizers", 0, "param_groups", 0), ("optimizers", 0, "state", 0)
# Where, what is there instead, and a word of what is said.
EDITS = [
    (("plan",), 3, "damaged"),
    (("plan",), [], "damaged"),
    (("plan",), torch.zeros(0), "damaged"),
    (("plan", "epochs"), torch.zeros(2), "damaged"),
    (("plan", "epochs"), 5, "its epochs is 5"),
    (("rows",), {}, "rows"),
    (("rows",), [5], "rows"),
    (("rows",), ROWS * 3, "rows"),
    (("rows",), ROWS[1:], "row 1 has epoch = 2"),
    (("rows", 0, "epoch"), 1.0, "epoch"),
    (("rows", 0, "seconds"), "long", "seconds"),
    (("rows", 0, "seconds"), True, "seconds"),
    (("rows", 1, "seconds"), float("nan"), "row 2 has seconds = nan"),
    (("rows", 1, "train_loss"), 10**400, "too large"),
    (("rows", 1, "flips"), torch.zeros(3), "flips"),
    (("rows", 0), {"epoch": 1}, "has no lr"),
    (("model",), [1, 2], None),
    (("model",), {}, "lacks the tensor"),
    (("model", "more"), torch.zeros(1), "has the tensor 'more'"),
    (SCORES, None, "must be a tensor"),
    (SCORES, torch.zeros(3), "shape"),
    (SCORES, torch.zeros(32, 16, dtype=torch.float64), "float64"),
    (SCORES, torch.zeros(32, 16).to_sparse(), "sparse"),
    (FROZEN, torch.empty(32, 16, device="meta"), "must be a tensor"),
    (("model", "2.running_mean"), torch.zeros(5), "running_mean"),  # BatchNorm loads in a way of its own
    (("optimizers",), [], "shorter"),
    (("optimizers", 0), 7, None),
    (("optimizers", 0, "param_groups"), [], "longer"),
    ((*GROUP, "params"), [1, 0], "params"),
    ((*GROUP, "maximize"), True, "maximize"),
    ((*GROUP, "maximize"), torch.zeros(2), None),
    ((*GROUP, "evil"), 1, "evil"),
    (NUMBER, None, None),
    ((*NUMBER, "evil"), torch.zeros(1), "evil"),
    (("optimizers", 0, "state", 2), {}, "parameter 2 of 2"),
    (("optimizers", 0, "state", "0"), {}, "parameter 0 of 2"),
    (("random",), None, "random"),
    (("random",), torch.zeros(4, dtype=torch.uint8), "random"),
    (("random",), torch.full((5056,), 255, dtype=torch.uint8), None),
    (("cuda",), None, "damaged"),
]


@pytest.mark.parametrize(("place", "value", "says"), EDITS)
def test_an_edit_with_the_right_sha256_is_refused(tmp_path, written, place, value, says):
    kind, data, _ = written
    state = parts(data)
    at(state, place[:-1])[place[-1]] = value
    refused(tmp_path, kind, hashed(state), says)


@pytest.mark.parametrize("name", ["plan", "rows", "model", "optimizers", "random"])
def test_every_part_is_needed(tmp_path, written, name):
    kind, data, _ = written
    state = parts(data)
    del state[name]
    refused(tmp_path, kind, hashed(state), "a damaged one")


WRONG = [None, 3, torch.zeros(3), torch.zeros(100_000), torch.zeros(32, 16, dtype=torch.float64), torch.zeros(16, 32)]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: str(getattr(value, "shape", value)))
def test_state_of_another_form_never_reaches_an_optimizer(tmp_path, written, value):
    kind, data, _ = written
    for name in parts(data)["optimizers"][0]["state"][0].keys() - {"step"}:
        if (name, value) != ("momentum_buffer", None):  # which torch has had for none
            state = parts(data)
            at(state, NUMBER)[name] = value
            refused(tmp_path, kind, hashed(state), name)


@pytest.mark.parametrize("step", [-1.0, 0.5, float("nan"), float("inf"), "x", None, torch.zeros(2)])
def test_a_step_that_no_optimizer_was_at_is_refused(tmp_path, step):
    checkpoint.write(tmp_path, *started("adam", steps=2), PLAN, ROWS)
    state = parts((tmp_path / checkpoint.NAME).read_bytes())
    at(state, NUMBER)["step"] = step
    refused(tmp_path, "adam", hashed(state))
    del at(state, NUMBER)["step"]
    refused(tmp_path, "adam", hashed(state), "lacks the state of the optimizer 'step'")


@pytest.mark.parametrize("form", ["expanded", "shared", "strided"])
def test_state_is_laid_out_as_ours_whatever_the_file_has(tmp_path, written, form):
    kind, data, _ = written
    state = parts(data)
    its = at(state, NUMBER)
    names = sorted(its.keys() - {"step"})
    shared = torch.zeros(32 * 16 + 9)
    for name in names:
        its[name] = {
            "expanded": torch.zeros(1).expand(32, 16),
            "shared": shared[9:].view(32, 16),
            "strided": torch.zeros(16, 32).t(),
        }[form]
    (tmp_path / checkpoint.NAME).write_bytes(hashed(state))
    with torch.random.fork_rng():
        model, optimizers = started(kind)
        checkpoint.restore(tmp_path, model, optimizers, PLAN)
    loaded = [optimizers[0].state[ut.scores(model)[0]][name] for name in names]
    assert all(each.is_contiguous() and each.untyped_storage().nbytes() == 4 * 32 * 16 for each in loaded)
    assert len({each.data_ptr() for each in loaded}) == len(names)


def test_what_comes_with_a_state_dict_is_not_obeyed(tmp_path, written):
    kind, data, _ = written
    state = parts(data)
    state["model"]._metadata = {name: {"assign_to_params_buffers": True} for name in ("", "1", "1.weight_mask")}
    (tmp_path / checkpoint.NAME).write_bytes(hashed(state))
    with torch.random.fork_rng():
        model, optimizers = started(kind)
        before = dict(model.named_parameters())
        checkpoint.restore(tmp_path, model, optimizers, PLAN)
    assert all(parameter is before[name] for name, parameter in model.named_parameters())


class Picky(nn.Module):
    """A layer that keeps a number beside its tensors, and takes no negative one."""

    number = 1

    def forward(self, x):
        return x

    def get_extra_state(self):
        return {"number": self.number}

    def set_extra_state(self, state):
        self.number = state["number"]
        if self.number < 0:
            raise RuntimeError("no number\nfor me")


def test_a_module_that_takes_nothing_leaves_the_model_as_it_was(tmp_path):
    build = lambda: ut.mask_(nn.Sequential(*toy(), Picky()), ut.EdgePopup(0.5), seed=3)  # noqa: E731
    toy = lambda: [nn.Flatten(), nn.Linear(16, 4, bias=False)]  # noqa: E731
    model, optimizers = started(model=build(), steps=1)
    model[2].number = 7
    checkpoint.write(tmp_path, model, optimizers, PLAN, ROWS)
    data = (tmp_path / checkpoint.NAME).read_bytes()
    with torch.random.fork_rng():
        again, its = started(model=build())
        checkpoint.restore(tmp_path, again, its, PLAN)
    assert again[2].number == 7
    state = parts(data)
    state["model"]["2._extra_state"] = {"number": -1}
    refused(tmp_path, "sgd", hashed(state), "no number for me", model=build())
    del state["model"]["2._extra_state"]
    refused(tmp_path, "sgd", hashed(state), "lacks the tensor", model=build())
    old = io.BytesIO()  # of a version in which a module of ours had no extra state
    torch.save(state, old)
    (tmp_path / checkpoint.NAME).write_bytes(old.getvalue())
    with torch.random.fork_rng():
        again, its = started(model=build())
        assert checkpoint.restore(tmp_path, again, its, PLAN) == ROWS
    assert again[2].number == 1


def test_a_module_that_takes_other_shapes_may(tmp_path):
    class Grows(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("seen", torch.zeros(0))

        def forward(self, x):
            self.seen = torch.ones(5)
            return x

        def _load_from_state_dict(self, state, prefix, *rest):
            self.seen = state[prefix + "seen"].clone()

    build = lambda: ut.mask_(nn.Sequential(nn.Flatten(), nn.Linear(16, 4), Grows()), ut.EdgePopup(0.5))  # noqa: E731
    checkpoint.write(tmp_path, *started(model=build(), steps=1), PLAN, ROWS)
    with torch.random.fork_rng():
        model, optimizers = started(model=build())
        checkpoint.restore(tmp_path, model, optimizers, PLAN)
    assert len(model[2].seen) == 5


def test_a_checkpoint_of_another_network_is_refused(tmp_path, written):
    kind, data, _ = written
    other = ut.mask_(nn.Sequential(nn.Flatten(), nn.Linear(16, 4)), ut.EdgePopup(0.5))
    refused(tmp_path, kind, data, "does not fit this model", model=other)


@pytest.mark.parametrize("val", [True, False])
def test_fit_asks_for_the_columns_that_it_writes(tmp_path, val):
    batches = toy_data()
    ut.fit(masked(), batches(), batches() if val else None, epochs=1, out=tmp_path)
    row = json.loads((tmp_path / "metrics.jsonl").read_text(encoding="utf-8"))
    assert set(row) - {"val_loss", "val_accuracy", "flips"} == set(checkpoint._FINITE)
    data = (tmp_path / checkpoint.NAME).read_bytes()
    for name in row:
        state = parts(data)
        del state["rows"][0][name]
        (tmp_path / checkpoint.NAME).write_bytes(hashed(state))
        with pytest.raises(ValueError, match=f"row 1 has no {name}"):
            ut.fit(masked(), batches(), batches() if val else None, epochs=1, out=tmp_path, resume=True)
