"""Tickets and links that the playground writes are those of Python, and it goes on from Python's; QR codes."""

import base64
import dataclasses
import hashlib
import random

import pytest
import torch
from playground_node import run_node
from torch import nn

import untrained as ut
from untrained import models
from untrained.cli import main

READER = "sha256 json header ticket inflate weights compact network".split()
SCRIPTS = [*READER, *(f"playground/{name}" for name in ("write_ticket", "link", "qr"))]
LAWS = [
    *(ut.SignedConstant(scaled=scaled, fan=fan) for scaled in (False, True) for fan in ("in", "out")),
    ut.UnsignedConstant(), ut.KaimingNormal(scaled=True), ut.KaimingUniform(nonlinearity="tanh"), ut.XavierNormal(),
    ut.XavierUniform(), ut.XavierConstant(), ut.Standard(), ut.Prototype(length=100),
]  # fmt: skip
KEEPS = (0.5, 0.9, 1.0, 0.1, 0.017, 1e-5)
DIGITS = ut.load_data("digits")
META = {"labels": list(DIGITS.labels), "mean": list(DIGITS.mean), "std": list(DIGITS.std), "accuracy": 0.5}
HEADER = """
const settingsOfCase = ({ seed, ...rest }) => ({ ...rest, seed: BigInt(seed) });
const decoded = (text) => Uint8Array.from(Buffer.from(text, "base64"));
"""


def as_header(law):
    return {"name": type(law).__name__, **dataclasses.asdict(law)}


def found(law, keep, number, widths=(30, 20)):
    """Return a masked network and the settings that the playground has for it."""
    method = ut.EdgePopup(keep, scope=("layer", "global")[number % 2], signed=number % 3 == 0)
    seed = (2**64 - 7, 0, 12345)[number % 3]
    model = ut.mask_(models.fc(widths, DIGITS.shape), method, weights=law, seed=seed)
    with torch.no_grad():  # scores that were searched
        for at, scores in enumerate(ut.scores(model)):
            scores.add_(0.1 * torch.randn(scores.shape, generator=torch.Generator().manual_seed(number + 1000 * at)))
    settings = {"seed": str(seed), "widths": list(widths), "law": as_header(law), "keep": keep}
    return model, settings | {"scope": method.scope, "signed": method.signed, "rate": 2.5}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Python's tickets for all laws and keeps, and those that the playground writes of the same masks and reads."""
    cases = [found(law, KEEPS[(n + more) % 6], n + more) for n, law in enumerate(LAWS) for more in (0, 3)]
    tickets = [ut.Ticket.of(model, META) for model, _ in cases]
    given = {
        "cases": [settings for _, settings in cases],
        "masks": [[ticket.codes[f"fc{i}.weight"].flatten().tolist() for i in (1, 2, 3)] for ticket in tickets],
        "meta": META,
        "python": [base64.b64encode(ticket.to_bytes(1 + number % 2)).decode() for number, ticket in enumerate(tickets)],
        "images": images(20).tolist(),
    }
    program = (
        HEADER
        + """return given.cases.map((settings, i) => {
        const masks = given.masks[i].map((mask) => Uint8Array.from(mask));
        const bytes = writeTicket(settingsOfCase(settings), masks, given.meta);
        const { tensors } = readTicket(bytes);
        const ops = ["fc1", "relu", "fc2", "relu", "fc3"].map((name, at) => name === "relu" ? { op: "relu", in: [at] }
            : { op: "linear", in: [at], weight: `${name}.weight` });
        const sizes = [30, 30, 20, 20, 10];
        const program = { ops: ops.map((op, at) => ({ ...op, shape: [sizes[at]] })) };
        const logitsOf = (image) => Array.from(runNetwork(program, tensors, Float32Array.from(image)).pop());
        const logits = given.images.map(logitsOf);
        const { network, masks: read } = readFound(decoded(given.python[i]));
        const back = { ...network, seed: String(network.seed), masks: read.map((mask) => Array.from(mask)) };
        return { bytes: Buffer.from(bytes).toString("base64"), logits, back };
    });"""
    )
    made = run_node(SCRIPTS, program, given, tmp_path_factory.mktemp("node"))
    return list(zip(tickets, given["cases"], given["masks"], made, strict=True))


def images(count):
    x, _ = next(iter(DIGITS.batches("test", count)))
    return x.flatten(1)


def test_a_ticket_of_the_playground_is_that_of_python(both):
    for ticket, _, _, made in both:
        own = ut.Ticket.from_bytes(base64.b64decode(made["bytes"]))
        assert (own.seed, own.law, own.tensors, own.built_by) == (
            ticket.seed,
            ticket.law,
            ticket.tensors,
            ticket.built_by,
        )
        assert all(torch.equal(own.codes[name], codes) for name, codes in ticket.codes.items())
        assert (own.weights_sha256, own.sample_sha256) == (ticket.weights_sha256, ticket.sample_sha256)
        own.verify()
        assert own.meta == {**META, "data": "digits", "shape": [1, 8, 8], "task": "classification"}
        logits = own.apply_(models.fc((30, 20), DIGITS.shape))(images(20))
        largest = max(1, logits.abs().max().item())  # those of an unsigned law are large
        assert (logits - torch.tensor(made["logits"])).abs().max() < 1e-5 * largest


def test_it_goes_on_from_tickets_of_python(both):
    for _, settings, masks, made in both:
        assert made["back"] == {**{k: v for k, v in settings.items() if k != "rate"}, "masks": masks}


def test_the_command_line_takes_it(both, tmp_path, capsys):
    (tmp_path / "a.ticket").write_bytes(base64.b64decode(both[0][3]["bytes"]))
    for command in (["info"], ["verify"], ["eval"], ["export", "--to", "html"]):
        main([command[0], str(tmp_path / "a.ticket"), *command[1:]])
    said = capsys.readouterr().out
    assert "fc" in said and "accuracy" in said and (tmp_path / "a.html").exists()


class Hidden(nn.Module):
    """A network that is not one of `untrained.models`."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(64, 9, False), nn.Linear(9, 9, False), nn.Linear(9, 10, False)


def test_a_ticket_that_it_cannot_go_on_from_is_refused_in_a_sentence(tmp_path):
    half, shape = ut.EdgePopup(0.5), DIGITS.shape
    refused = [
        (models.fc((30,), shape), half, "network"), (models.fc((9, 9), (1, 28, 28)), half, "network"),
        (models.fc((9, 9, 9), shape), half, "network"), (models.fc((9, 9), shape, 11), half, "network"),
        (models.fc((9, 9), shape, norm="batch"), half, "network"), (Hidden(), half, "network"),
        (models.fc((9, 9), shape, activation="elu"), half, "network"), (models.fc((600, 9), shape), half, "512"),
        (models.fc((9, 9), shape), ut.Biprop(0.5), "edge-popup"), (models.fc((9, 9), shape), ut.Dense(), "edge-popup"),
        (models.fc((9, 8), shape), ut.EdgePopup(0.5, structure=ut.NofM(2, 4)), "choice"),
        (models.fc((9, 9), shape), ut.EdgePopup(0.5, scope="normalised"), "choice"),
        (models.fc((9, 9), shape), {"fc1.weight": ut.EdgePopup(0.3), "fc[23].weight": half}, "settings"),
    ]  # fmt: skip
    files = [ut.Ticket.of(ut.mask_(model, method)).to_bytes() for model, method, _ in refused]
    program = (
        HEADER
        + """return given.map((file) => {
        try { return String(readFound(decoded(file)).network.widths); }
        catch (error) { return `${error.name}: ${error.message}`; }
    });"""
    )
    said = run_node(SCRIPTS, program, [base64.b64encode(each).decode() for each in files], tmp_path)
    for why, (_, _, word) in zip(said, refused, strict=True):
        assert why.startswith("TicketError: The playground cannot go on from this ticket: ") and word in why, (
            why,
            word,
        )


def test_a_link_restores_what_it_was_made_of(both, tmp_path):
    cases = [[settings, masks if number % 4 else None] for number, (_, settings, masks, _) in enumerate(both)]
    program = (
        HEADER
        + """return given.map(([settings, masks]) => {
        const given = masks && masks.map((mask) => Uint8Array.from(mask));
        return [writeLink, writeDigits].map((write) => {
            const text = write(settingsOfCase(settings), given);
            const read = readLink(text);
            const back = { ...read.settings, seed: String(read.settings.seed) };
            return [text, back, read.masks && read.masks.map((mask) => Array.from(mask))];
        });
    });"""
    )
    weights = 64 * 30 + 30 * 20 + 200
    for (settings, masks), made in zip(cases, run_node(SCRIPTS, program, cases, tmp_path), strict=True):
        for text, back, read in made:
            assert (back, read) == (settings, masks)
            assert len(text) < (2.45 if text[0] == "d" else 1.34) * (130 + (masks is not None) * weights / 8)


def test_a_hostile_link_is_refused_in_a_sentence(both, tmp_path):
    draw = random.Random(0)
    _, settings, masks, _ = both[1]
    texts = ["", "b", "d", "d1", "x", "b" + "A" * 10**6, "d" + "9" * 10**5, "b%00", "b<img>", "ö", "d٣", "1" * 17]
    # Settings with the right sum that no playground wrote.
    laws = "constructor", "__proto__", "Signed"
    written = [f'[1,[1,1],["{law}","in","relu",false],0.5,"layer",false,2.0]' for law in laws]
    own = '[1,[3,4],["SignedConstant","in","relu",false],0.5,"layer",false,2.0]'
    written += [own.replace(*change) for change in (
        ("[1,", "[-1,"), ("3,4", "3,513"), ("3,4", "3"), ("3,4", "3,4,5"), ("3,4", "0,4"), ("3,4", "3.0,4"),
        ("0.5", "2.0"),
        ("0.5", "1"), ("layer", "normalised"), ("layer", "tensor"), (",2.0", ""), ("2.0", "1e+99"), ("2.0]", "2.0,1]"),
        ("relu", "toString"), ("false]", "false,1]"), ("2.0", "-1.0"), ("2.0", "[[[[]]]]"), (own, "{}"), (own, "null"),
        (own, "[" * 5000), (own, ""), (own, '"' + "a" * 99), ("false]", "0]"), ("[1,", "[18446744073709551616,"),
    )]  # fmt: skip
    program = (
        HEADER
        + """
    const text = writeLink(settingsOfCase(given.settings), given.masks.map((mask) => Uint8Array.from(mask)));
    const outcome = (text) => {
        try { readLink(text); return "read"; } catch (error) { return `${error.name}: ${error.message}`; }
    };
    const changed = given.draws.map(([at, letter]) => {
        const place = 1 + Math.floor(at * (text.length - 1));
        return text[place] === letter ? "b" : text.slice(0, place) + letter + text.slice(place + 1);
    });
    const cut = given.draws.map(([at]) => text.slice(0, Math.floor(at * text.length)));
    const sealed = (settings, version = 1, more = []) => {
        const rest = concatenated([
            Uint8Array.of(version), varintOf(utf8(settings).length), utf8(settings), Uint8Array.from(more)]);
        const bytes = [...new Sha256().add(rest).digest().subarray(0, 4), ...rest];
        return `b${Buffer.from(bytes).toString("base64url")}`;
    };
    const [own] = given.own;
    return {
        damaged: [...given.texts, ...changed, ...cut].map(outcome),
        forged: given.written.map((each) => outcome(sealed(each))),
        own: [outcome(sealed(own)), outcome(sealed(own, 2)), outcome(sealed(own, 1, [1])), outcome(sealed(own, 0))],
    };"""
    )
    draws = [(draw.random(), draw.choice("AZaz09-_")) for _ in range(300)]
    given = {"settings": settings, "masks": masks, "draws": draws, "texts": texts, "written": written, "own": [own]}
    said = run_node(SCRIPTS, program, given, tmp_path)
    damaged = "Error: This link is damaged: it was cut off or changed on its way."
    assert set(said["damaged"]) == set(said["forged"]) == {damaged}
    later = "Error: This link was made by a later version of the playground."
    assert said["own"] == ["read", later, damaged, damaged]


# Text, digits behind it, and the sha256 of the modules, as rows of 0 and 1, that the package qrcode 8.2 makes of them
# with mask 0.
LINK = "https://example.org/playground.html#find/d"
PI = "3141592653" * 700
QR = [
    ("a", "", "c9fc6216b0e80cb9"),
    ("HELLO wörld", "", "1230c28d6148d1d9"),
    ("x" * 150, "", "bdb41ef23d1fe989"),
    ("x" * 1000, "", "33758745be136bbb"),
    ("x" * 2953, "", "76c44b4d0a78aa5e"),
    (LINK, PI[:1], "61a7f550dfb56de3"),
    (LINK, PI[:101], "70c01fdfaff4e342"),
    (LINK, PI[:500], "97124057bed8be8f"),
    (LINK, PI[:3000], "92feb10c622ec013"),
    (LINK, PI[:6900], "40b8dbc622232690"),
]


def test_qr_codes_are_those_of_another_encoder(tmp_path):
    program = "return given.map(([text, digits]) => (qrCode(text, digits) ?? []).map((row) => row.join('')).join(' '));"
    made = run_node(SCRIPTS, program, [[text, digits] for text, digits, _ in QR], tmp_path)
    assert [hashlib.sha256(rows.encode()).hexdigest()[:16] for rows in made] == [known for _, _, known in QR]
    longest = [["x" * 2953, ""], ["x" * 2954, ""], [LINK, "1" * 6982], [LINK, "1" * 6983]]
    assert [bool(rows) for rows in run_node(SCRIPTS, program, longest, tmp_path)] == [True, False, True, False]
