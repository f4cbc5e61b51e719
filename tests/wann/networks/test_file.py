"""Networks as files: what is written is read again, and what was made to break the reader is refused."""

import copy
import json
import re
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from untrained.wann.networks.file import MOST_BYTES, NetError, from_document, to_document, write
from untrained.wann.networks.net import Net
from wann_nets import assert_same, nets

PAGE = Path(__file__).parents[3] / "docs" / "wann-format.md"
EXAMPLE = re.search(r"^```json\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]
SMALL = {
    "format": "untrained-wann/1",
    "inputs": 2,
    "outputs": 1,
    "labels": ["é"],
    "offset": [0.1, 1],
    "scale": [2.0, -0.5],
    "nodes": [["tanh", [0, 2], [0.1, 1e-300]], ["linear", [], []], ["cos", [3, 3], [1, -0.0]]],
    "meta": {"a": [1, {"b": 0.5}]},
}
REQUIRED = ("format", "inputs", "outputs", "nodes")
JUNK = (None, True, 0, -1, 1.5, 10**12, "1", "", [], {}, [[]], [None], [True], ["x"], [10**400], {"a": 1})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.wann.json"


read = Net.load


def net_of(document):
    return Net(**from_document(document))


def refusal(path, content):
    """The message with which a file is refused: one line that names the file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NetError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is no network: ") and "\n" not in message and len(message) < 400
    return message


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "a.json"

    @settings(max_examples=50)
    @given(nets())
    def check(net):
        write(net, path)
        again, data = read(path), path.read_bytes()
        assert_same(net, again)
        write(again, path)
        assert path.read_bytes() == data
        assert_same(net, net_of(json.loads(json.dumps(to_document(net)))))

    check()


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_every_number_survives(weights):
    net = Net(1, 1, [1], [0, 3], [0, 1, 1], weights)
    assert_same(net, net_of(json.loads(json.dumps(to_document(net)))))


def test_the_example_of_the_page(path):
    path.write_text(EXAMPLE)
    net = Net.load(path)
    assert net.labels == ("below", "above") and net.meta == {"task": "an example"}
    claimed = re.findall(r"^    (-?[\d.]+)  ", PAGE.read_text(), re.MULTILINE)
    np.testing.assert_allclose(net([[0.25, 0.75]], 0.5), [[float(value) for value in claimed]], rtol=1e-15)
    net.save(path)
    assert path.read_text() == EXAMPLE


def test_a_node_is_a_line(path):
    write(net_of(SMALL), path)
    lines = path.read_text().splitlines()
    assert '    ["tanh", [0, 2], [0.1, 1e-300]],' in lines and '  "labels": ["é"],' in lines


@pytest.mark.parametrize(
    "changes",
    [
        {"meta": {"a": object()}},
        {"meta": {"a": float("nan")}},
        {"meta": {1: "a", "1": "b"}},
        {"meta": {"a": "\ud800"}},
        {"labels": ("\ud800",)},
        {"labels": (1,)},
    ],
)
def test_what_cannot_be_written_changes_no_file(path, changes):
    net = Net(1, 1, [1], [0, 1], [1])
    write(net, path)
    before = path.read_bytes()
    with pytest.raises(NetError, match=re.escape(f"{path} cannot be written: ")):
        write(net.replace(**changes), path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


def test_a_network_beyond_the_limits_is_not_written(path):
    with pytest.raises(NetError, match=r"inputs.*1,000,000.*1000001"):
        write(Net(10**6 + 1, 1, [1], [0, 0], []), path)
    assert not path.exists()


# --- hostile files ---


def test_cut_off_anywhere(path):
    write(net_of(SMALL), path)
    whole = path.read_bytes()
    for length in range(len(whole.rstrip())):
        refusal(path, whole[:length])


@pytest.mark.parametrize("key", SMALL)
def test_a_missing_key(path, key):
    rest = {name: value for name, value in SMALL.items() if name != key}
    if key in REQUIRED:
        assert key in refusal(path, json.dumps(rest))
    else:
        path.write_text(json.dumps(rest))
        assert read(path).connections == 4


@pytest.mark.parametrize("key", SMALL)
def test_a_key_given_twice(path, key):
    twice = json.dumps(SMALL)[:-1] + f", {json.dumps(key)}: {json.dumps(SMALL[key])}}}"
    assert f"'{key}': given twice" in refusal(path, twice)


@pytest.mark.parametrize("key", SMALL)
def test_a_value_of_another_kind(path, key):
    for junk in JUNK:
        if (key, junk) in (("meta", {}), ("meta", {"a": 1}), ("labels", ["x"])):
            continue
        message = refusal(path, json.dumps(SMALL | {key: junk}))
        assert key in message, (junk, message)


@pytest.mark.parametrize("place", [(), (0,), (0, 0), (0, 1), (0, 1, 0), (0, 2), (0, 2, 1), (2, 1, 1)])
def test_a_node_of_another_kind(path, place):
    fine = {(0, 1, 0): (0,), (2, 1, 1): (0,), (0, 2, 1): (0, -1, 1.5, 10**12)}
    for junk in JUNK:
        document = copy.deepcopy(SMALL)
        *outer, last = ("nodes", *place)
        target = document
        for step in outer:
            target = target[step]
        target[last] = junk
        if junk in fine.get(place, ()) and not isinstance(junk, bool):
            from_document(document)
        else:
            assert "nodes" in refusal(path, json.dumps(document)), junk


# fmt: off
LIES = [
    ('"untrained-wann/1"', '"untrained-wann/2"', "format.*'untrained-wann/1'.*'untrained-wann/2'"),
    ('"inputs": 2', '"inputs": 1000000000000', "inputs.*1,000,000.*1000000000000"),
    ('"inputs": 2', '"inputs": 2.0', "inputs.*2.0"),
    ('"inputs": 2', '"inputs": true', "inputs.*True"),
    ('"inputs": 2', '"inputs": 3', r"offset.*\(3,\).*\(2,\)"),
    ('"outputs": 1', '"outputs": 4', "nodes.*4.*3"),
    ('"outputs": 1', '"outputs": 2', "labels.*2.*1"),
    ('"outputs": 1', '"outputs": 1, "colour": 1', "'colour'"),
    ('"tanh"', '"softmax"', r"nodes\[0\]: activation.*linear, step.*'softmax'"),
    ("[0, 2]", "[0, 3]", r"nodes\[0\]: source.*3"),
    ("[0, 2]", "[0, -1]", r"nodes\[0\]: source.*-1"),
    ("[0, 2]", "[0, true]", r"nodes\[0\]: source.*True"),
    ("[3, 3]", "[3]", r"nodes\[2\]: weights.*1.*2"),
    ('["linear", [], []]', '["linear", []]', r"nodes\[1\].*3.*\['linear', \[\]\]"),
    ("1e-300", "NaN", "NaN"),
    ("1e-300", "-Infinity", "-Infinity"),
    ("1e-300", "1e999", "'1e999'.*float64"),
    ("1e-300", "1" + 400 * "0", r"nodes\[0\].*float64"),
    ("0.5}", "1e999}", "'1e999'.*float64"),
    ('"b": 0.5', '"b": 0.5, "b": 0.5', "'b'.*twice"),
    ('"a"', '"\\ud800"', "meta.*Unicode"),
    ('"\\u00e9"', '"\\ud800"', r"labels\[0\].*Unicode"),
    ("[1, {", "[1, {{", "not JSON .*line 1"),
]
# fmt: on


@pytest.mark.parametrize(("was", "then", "pattern"), LIES)
def test_a_field_that_lies(path, was, then, pattern):
    text = json.dumps(SMALL)
    assert text.count(was) == 1
    assert re.search(pattern, refusal(path, text.replace(was, then)))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff", b"\xef\xbb\xbf{}", b"null", b"[]", b'"a"', b"1", b"{}", b"\0" * 100),
        *(b"{" * 10**5, b"[" * 10**6, 10**5 * b'{"a":', b"9" * 10**5),
        json.dumps(SMALL).replace("0.5}", 10**5 * "[" + 10**5 * "]" + "}").encode(),
        json.dumps(SMALL).encode("utf-16"),
        json.dumps(SMALL).encode() + b"\xe9",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_such_file(path, content):
    refusal(path, content)


def test_no_claim_costs_memory_or_time(path):
    texts = [json.dumps(SMALL | {key: 10**12}) for key in ("inputs", "outputs")]
    texts.append(json.dumps({"format": "untrained-wann/1", "inputs": 10**6, "outputs": 10**6, "nodes": []}))
    start = time.process_time()
    tracemalloc.start()
    try:
        for text in texts:
            refusal(path, text)
        assert tracemalloc.get_traced_memory()[1] < 2 * MOST_BYTES
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 1


@pytest.mark.parametrize("unit", ['["abs",[],[]]', '["abs",[]]'])
def test_more_lists_than_memory_is_for_are_refused_unparsed(tmp_path, unit):
    path, count = tmp_path / "net.json", (1 << 20) // unit.count("[") + 1
    nodes = ",".join([unit] * count)
    path.write_text(f'{{"format":"untrained-wann/1","inputs":1,"outputs":1,"nodes":[{nodes}]}}', encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(NetError, match="more than 1,048,576 lists and objects"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 2 * MOST_BYTES
    tracemalloc.stop()


def test_a_file_too_large(path):
    with path.open("wb") as file:
        file.truncate(MOST_BYTES * 100)
    with pytest.raises(NetError, match="more than 16,777,216 bytes"):
        read(path)


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
    with pytest.raises(OSError):
        read(tmp_path)


def test_any_byte_may_be_wrong(path):
    whole = (json.dumps(SMALL, ensure_ascii=False) + "\n").encode()
    for place in range(len(whole)):
        for byte in b'"9\xff':
            path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
            try:
                read(path)
            except NetError:
                pass


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(SMALL)), JSON, st.integers(0, 3), st.integers(0, 2))
def test_any_value_may_be_wrong(key, junk, depth, index):
    document = copy.deepcopy(SMALL)
    target, last = document, key
    for _ in range(depth):
        inner = target[last]
        if not isinstance(inner, list) or index >= len(inner):
            break
        target, last = inner, index
    target[last] = junk
    try:
        from_document(document)
    except NetError:
        pass
