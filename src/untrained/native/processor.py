"""The processor of this machine: its name, and whether it computes in bfloat16."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_LINUX = Path("/proc/cpuinfo")
# Of x86 and ARM, as torch and Linux call them.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "avx10_2", "bf16", "sve_bf16", "svebf16"}


def name() -> str:
    """Return the name that the processor gives itself, or its kind."""
    known = _cpuinfo().get("model name") or _capabilities().get("cpu_name") or platform.processor()
    return " ".join(str(known or platform.machine()).split())


def computes_bfloat16() -> bool | None:
    """Return True if there are instructions for bfloat16, without which torch computes in float32 and rounds.

    A younger torch says it (`torch.cpu.get_capabilities`), else Linux does; None: neither does.
    """
    if told := _capabilities():
        return any(told.get(flag) for flag in _BFLOAT16)
    flags = _cpuinfo().get("flags") or _cpuinfo().get("Features")
    return None if flags is None else bool(_BFLOAT16 & {*flags.split()})


def _capabilities() -> Mapping[str, Any]:
    import torch  # a search without torch asks for the name alone

    known = getattr(torch.cpu, "get_capabilities", dict)()
    return known if "architecture" in known else {}


@functools.cache
def _cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor."""
    if not _LINUX.is_file():
        return {}
    first = _LINUX.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
