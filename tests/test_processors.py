"""A small part of the suite as on lesser processors: torch, its oneDNN and our kernels leave instructions unused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from untrained.native.library import levels

LESSER = {
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "portable": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"},
}
PART = [
    "weights/test_laws.py::test_golden_hashes",
    "selection/test_topk.py::test_the_choice_is_the_oracles",
    "masking/test_forward.py::test_every_score_has_its_gradient",
    "masking/test_forward.py::test_autocast_chooses_the_same",
    "tickets/test_ticket.py::test_the_golden_file_is_written_again_byte_by_byte",
    "tickets/test_ticket.py::test_the_golden_file_loads_to_its_weights",
    "packed/test_packed.py::test_in_bfloat16_convolutions_and_large_batches_are_as_right_as_bfloat16",
]


@pytest.mark.slow
@pytest.mark.parametrize("level", [level for level in LESSER if level in levels()])
def test_a_part_of_the_suite_passes_at_the_level(level):
    tests = [str(Path(__file__).parent / each) for each in PART]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        env={**os.environ, **LESSER[level]},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
