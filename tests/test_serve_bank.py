"""The example server answers over a real socket as its bank does, bit for bit, and refuses in plain words."""

import http.client
import importlib.util
import json
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import untrained as ut

for needed in ("fastapi", "uvicorn"):
    pytest.importorskip(needed, reason="needs the extra: pip install untrained[serve]")

EXAMPLE = Path(__file__).parent.parent / "examples/serve_bank.py"
SHAPE = (1, 6, 6)


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("serve_bank", EXAMPLE)
    sys.modules["serve_bank"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["serve_bank"]


@pytest.fixture
def bank() -> ut.Bank:
    bank = ut.Bank(ut.models.fc((8,), norm="batch", shape=SHAPE), seed=2)
    for keep in (0.1, 0.3, 0.5):
        bank.add(f"keep {keep}", bank.masked(ut.EdgePopup(keep=keep)))
    bank.add("four", bank.masked(ut.EdgePopup(keep=0.5), heads={"fc2": 4}))
    return bank


@pytest.fixture
def ask(example, bank):
    """A function that asks a running server, and gives the status and the JSON of its answer."""
    with example.running(example.make_app(bank, SHAPE)) as port:

        def ask(method, path, body=None):
            data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            headers = {} if isinstance(body, bytes) else {"content-type": "application/json"}
            url = f"http://127.0.0.1:{port}{path.replace(' ', '%20')}"
            request = urllib.request.Request(url, data, headers, method=method)
            try:
                with urllib.request.urlopen(request) as answer:
                    return answer.status, json.loads(answer.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())

        ask.port = port
        yield ask


X = torch.randn(7, *SHAPE, generator=torch.Generator().manual_seed(0))
FLAT = X.flatten(1).tolist()


def test_threads_get_the_answers_of_their_own_tasks_bit_for_bit(ask, bank):
    expected = {(name, row): bank(X[row : row + 1], name)[0] for name in bank.names for row in range(len(X))}
    mixed = [bank.names[row % 4] for row in range(len(X))]
    batch = bank(X, mixed)

    def work(thread: int) -> None:
        for number in range(8):
            name, row = bank.names[(thread + number) % 4], (thread * number) % len(X)
            status, answer = ask("POST", "/predict", {"image": FLAT[row], "task": name})
            assert status == 200 and torch.equal(torch.tensor(answer["logits"]), expected[name, row])
            assert answer["task"] == name and answer["class"] == int(expected[name, row].argmax())
        status, answers = ask("POST", "/predict_batch", {"images": FLAT, "tasks": mixed})
        assert status == 200
        for answer, row in zip(answers, batch, strict=True):
            assert torch.equal(torch.tensor(answer["logits"]), row[: len(answer["logits"])])
            assert len(answer["logits"]) == (4 if answer["task"] == "four" else 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert ask("GET", "/speed")[1]["requests_per_second"] > 0


def test_a_task_that_is_not_given_is_inferred_for_each_image(ask, bank):
    expected = bank.which(X, how="each", per="row").task
    status, answers = ask("POST", "/predict_batch", {"images": FLAT})
    assert status == 200 and [answer["task"] for answer in answers] == expected
    assert ask("POST", "/predict", {"image": FLAT[3]})[1]["task"] == bank.which(X[3:4], how="each").task


def test_tasks_come_and_go_while_it_runs(ask, bank, tmp_path):
    found = ut.Ticket.of(bank.masked(ut.EdgePopup(keep=0.2)), {"labels": list("abcdefghij")})
    found.save(tmp_path / "found.ticket")
    assert ask("PUT", "/tasks/new one", (tmp_path / "found.ticket").read_bytes()) == (201, None)
    assert ask("GET", "/tasks")[1][-1] == {
        "task": "new one", "labels": list("abcdefghij"), "bytes": len((tmp_path / "found.ticket").read_bytes())
    }  # fmt: skip
    plain = found.apply_(ut.models.fc((8,), norm="batch", shape=SHAPE)).eval()
    status, answer = ask("POST", "/predict", {"image": FLAT[0], "task": "new one"})
    assert status == 200 and torch.equal(torch.tensor(answer["logits"]), plain(X[:1])[0])
    assert ask("DELETE", "/tasks/new one") == (200, None)
    assert ask("POST", "/predict", {"image": FLAT[0], "task": "new one"})[0] == 404


ONE = {"image": FLAT[0], "task": "four"}
REFUSED = {
    "unknown task": ("POST", "/predict", {**ONE, "task": "gone"}, 404, "there is no task 'gone'"),
    "unknown row": ("POST", "/predict_batch", {"images": FLAT[:1], "tasks": ["gone"]}, 404, "no task 'gone'"),
    "remove": ("DELETE", "/tasks/gone", None, 404, "there is no task 'gone'"),
    "short image": ("POST", "/predict", {**ONE, "image": [1.0]}, 422, "body.image: List should have at least 36"),
    "words": ("POST", "/predict", {**ONE, "image": ["a"] * 36}, 422, "body.image.0: Input should be a valid number"),
    "not a number": ("POST", "/predict", {**ONE, "image": [float("nan")] * 36}, 422, "should be a finite number"),
    "beyond float32": ("POST", "/predict", {**ONE, "image": [1e300] * 36}, 422, "less than or equal to 1000000"),
    "no name": ("POST", "/predict", {**ONE, "task": 7}, 422, "body.task: Input should be a valid string"),
    "no rows": ("POST", "/predict_batch", {"images": [], "tasks": []}, 422, "at least 1 item"),
    "too many rows": ("POST", "/predict_batch", {"images": FLAT * 40, "tasks": ["four"]}, 422, "at most 256 items"),
    "fewer tasks": ("POST", "/predict_batch", {"images": FLAT, "tasks": ["four"]}, 422, "one task for each of 7 rows"),
    "no ticket": ("PUT", "/tasks/new", b"\x80\x04pickle", 422, "not a ticket"),
    "in use": ("PUT", "/tasks/four", None, 422, "the bank has a task 'four' already"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_refused_in_plain_words(case, ask, bank, tmp_path):
    method, path, body, expected, message = REFUSED[case]
    if case == "in use":
        bank.ticket("four").save(tmp_path / "found.ticket")
        body = (tmp_path / "found.ticket").read_bytes()
    names = bank.names
    status, answer = ask(method, path, body)
    assert status == expected and message in answer["detail"]
    assert bank.names == names


@pytest.mark.parametrize("header", [("content-length", str(2**23 + 1)), ("transfer-encoding", "chunked")])
def test_a_body_that_is_too_long_or_of_no_stated_length_is_not_read(header, ask):
    connection = http.client.HTTPConnection("127.0.0.1", ask.port)
    connection.putrequest("PUT", "/tasks/new")
    connection.putheader(*header)
    connection.endheaders()  # and no body: the answer comes without it
    answer = connection.getresponse()
    assert answer.status == 413 and "at most 8388608 bytes" in json.loads(answer.read())["detail"]
    connection.close()


def test_it_measures_its_own_speed(example, ask, bank):
    assert example.bench(ask.port, bank.names, 36, requests=64) > 1
