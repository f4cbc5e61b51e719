"""The tables of docs/playground.md."""

import statistics

from harness import measured
from markdown_table import table


def playground() -> str:
    found, wann = measured("playground"), measured("playground_wann")
    share = found["node beside Python, the median of pairs"]
    after, worst = found["the longest after that (CPU ms)"], found["the longest of all after that (CPU ms)"]
    rows = [
        ["from opening to the first step of the search", f"{found['seconds to the first step']:.1f} s", "2 s"],
        ["… to 97 % of the test digits", f"{found['seconds to 97 % of the test digits']:.1f} s", "30 s"],
        ["longest task of the page, when it opens", f"{found[OPENING]:.0f} ms", "50 ms"],
        ["longest task after that", f"{after:.0f} ms; at the most {worst:.0f}", "50 ms"],
        ["steps of search and twin, beside Python's on one thread", f"{share:.2f} ×", "0.25 ×"],
    ]
    if wann:
        seconds, seeds = wann["CPU seconds"], wann["seeds"]
        above = sum(each["six weights"] >= 300 for each in seeds)
        least = min(each["six weights"] for each in seeds)
        share = statistics.median(each["steps a CPU second"] / each["of Python"] for each in seeds)
        rows += [
            [
                f"networks of {seconds:.0f} CPU seconds of evolution with a mean reward of 300 and more",
                f"{above} of {len(seeds)} seeds; the least is {least:.0f}",
                "4 of 5 in 240",
            ],
            ["steps of swing-up, beside Python's on one thread", f"{share:.2f} ×", ""],
        ]
    return table(["", "measured", "aim"], rows)


OPENING = "the page's longest task, when it opens (CPU ms)"
