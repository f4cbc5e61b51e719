"""How everything here is timed: one thread, process CPU time, variants interleaved in one process, paired ratios.

The machines that this runs on are shared and noisy. CPU time does not count the time we were not running; variants
take turns, so that a slow minute slows them all; and a ratio is taken within a round, the median over the rounds.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from untrained.native.library import Status

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one variant, and its ratio to the reference of its round: median, least and most."""

    variant: str
    ms: float
    ratio: float
    least: float
    most: float


def interleave(
    variants: Mapping[str, Callable[[], object]],
    *,
    reference: str,
    rounds: int,
    device: str = "cpu",
    clock: Callable[[], float] = time.process_time,
) -> list[Timing]:
    """Time all variants in turn, `rounds` times after one round to warm up."""
    return ratios(take_turns(variants, rounds=rounds, device=device, clock=clock), reference)


def take_turns(
    variants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    device: str = "cpu",
    between: Callable[[str], object] | None = None,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, list[float]]:
    """Seconds that every variant took in every round.

    With `between` every variant runs once, then that (with its name), then the variant again, and only this is timed:
    short ones would else be told apart by what the one before them left in the caches.
    """
    if torch.device(device).type == "cuda":

        def clock() -> float:
            torch.cuda.synchronize()
            return time.perf_counter()

    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, run in variants.items():
            if between is not None:
                run()
                between(name)
            start = clock()
            run()
            if number:
                taken[name].append(clock() - start)
    return taken


def ratios(taken: Mapping[str, list[float]], reference: str) -> list[Timing]:
    """The medians, and the ratios to the reference of the same round."""
    paired = {
        name: [own / other for own, other in zip(times, taken[reference], strict=True)] for name, times in taken.items()
    }
    return [
        Timing(
            name, 1000 * statistics.median(times), statistics.median(paired[name]), min(paired[name]), max(paired[name])
        )
        for name, times in taken.items()
    ]


def moving(size: int) -> Callable[[], object]:
    """The floor of anything that must move so many bytes: copy half of them, which reads and writes each once."""
    source, target = (torch.ones(max(1, size // 8)) for _ in range(2))
    return lambda: target.copy_(source)


@contextmanager
def without_kernels() -> Iterator[None]:
    """As on a machine that has no compiler."""
    with mock.patch("untrained.native.library.status", lambda: Status(None, "", "turned off")):
        yield


def machine(device: str = "cpu") -> dict[str, str | int]:
    """What it ran on."""
    name = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")), platform.processor()
    )
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def report(name: str, tables: Mapping[str, list[Timing]], device: str = "cpu") -> None:
    """Print the tables, and write them with the machine's description to results/<name>.json."""
    for title, timings in tables.items():
        print(f"\n{title}")
        width = max(len(t.variant) for t in timings)
        print(f"  {'':{width}}  {'ms':>10}  {'ratio':>7}  {'least':>7}  {'most':>7}")
        for t in timings:
            print(f"  {t.variant:{width}}  {t.ms:10.3f}  {t.ratio:7.3f}  {t.least:7.3f}  {t.most:7.3f}")
    write(name, {title: [asdict(t) for t in timings] for title, timings in tables.items()}, device)


def measured(name: str) -> Any:
    """What `write` wrote; nothing measured yet: an empty list."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["results"] if path.exists() else []


def write(name: str, results: object, device: str = "cpu") -> None:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps({"machine": machine(device), "results": results}, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(RESULTS.parent.parent)}")


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []
