"""Episodes of many networks in one environment, as one compiled loop in which each episode has a lane."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from untrained.wann.jit import bound, compiled, inlined
from untrained.wann.vector_math import activate

_LANES = 8  # doubles in the widest vector register there is

_GLUE = """
def reset_lanes(seeds, start):
    for r in range(seeds.shape[0]):
        {start} = reset(seeds[r])

def observe_lanes(state, nodes, lanes):
    {states} = {state_rows}
    {inputs} = {input_rows}
    for q in range(lanes):
        {inputs_q} = observe(({states_q}))

def step_lanes(state, nodes, first_output, total, ended, lanes):
    {states} = {state_rows}
    {actions} = {action_rows}
    for q in range(lanes):
        ({states_q}), reward, end = step(({states_q}), ({actions_q}))
        total[q] += reward + 0.0 * ({action_sum})  # an output that is no number makes the reward none
        ended[q] = end
"""


# What `compiled_rollout` binds anew for every environment.
STATES, INPUTS, OUTPUTS = 1, 1, 1


def _unbound(*_: object) -> None:
    raise NotImplementedError


reset_lanes = observe_lanes = step_lanes = _unbound


def _rollout_template(
    node_ptr, edge_ptr, src, act, weight, shared, seeds, max_steps, totals, lengths
):  # pragma: no cover  (compiled)
    """Play all episodes of every network: lane v·R + r has the shared weight v and the start r."""
    reps = seeds.shape[0]
    lanes = shared.shape[0] * reps
    padded = (lanes + _LANES - 1) // _LANES * _LANES
    start, state = np.zeros((STATES, reps)), np.zeros((STATES, padded))
    reset_lanes(seeds, start)
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    nodes = np.zeros((INPUTS + 1 + most, padded))
    nodes[0] = 1.0
    w, total, ended = np.zeros(padded), np.zeros(padded), np.zeros(padded, np.uint8)
    episode = np.zeros(padded, np.int64)
    weighted = weight.shape[0] > 0
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for q in range(lanes):
            episode[q], w[q], total[q] = q, shared[q // reps], 0.0
            state[:, q] = start[:, q % reps]
        running, steps = lanes, 0
        while running > 0:
            width = (running + _LANES - 1) // _LANES * _LANES
            observe_lanes(state, nodes, width)
            for k in range(rows):
                z = nodes[INPUTS + 1 + k, :width]
                z[:] = 0.0
                for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
                    source = nodes[src[e]]
                    if weighted:
                        for q in range(width):
                            z[q] += weight[e] * source[q]
                    else:
                        for q in range(width):
                            z[q] += source[q]
                activate(act[row0 + k], z, w, 0.0, 0.5, 1.0)
            step_lanes(state, nodes, INPUTS + 1 + rows - OUTPUTS, total, ended, width)
            steps += 1
            any_ended = steps >= max_steps
            for q in range(running):
                any_ended |= ended[q] != 0
            if any_ended:
                # The last running lane moves into the place of one that ended, so that no finished episode goes on.
                for q in range(running - 1, -1, -1):
                    if ended[q] or steps >= max_steps:
                        totals[p, episode[q] // reps, episode[q] % reps] = total[q]
                        lengths[p, episode[q] // reps, episode[q] % reps] = steps
                        running -= 1
                        episode[q], w[q], total[q] = episode[running], w[running], total[running]
                        state[:, q] = state[:, running]


@lru_cache
def compiled_rollout(
    functions: tuple[Callable[..., Any], ...], states: int, inputs: int, outputs: int
) -> Callable[..., None]:
    """The loop that plays all episodes, compiled for one environment.

    Args:
        functions: its reset, observe and step.
        states: numbers in a state.
        inputs: numbers in an observation.
        outputs: numbers in an action.

    Returns:
        A function of (node_ptr, edge_ptr, src, act, weight, shared, seeds, max_steps, totals, lengths); the last two,
        (P, V, reps), take the reward and the length of every episode.
    """

    def each(text: str, count: int) -> str:
        return "".join(f"{text.format(i=i)}, " for i in range(count))

    glue = _GLUE.format(
        start=each("start[{i}, r]", states),
        states=each("s{i}", states),
        states_q=each("s{i}[q]", states),
        state_rows=each("state[{i}]", states),
        inputs=each("h{i}", inputs),
        inputs_q=each("h{i}[q]", inputs),
        input_rows=each("nodes[{i} + 1]", inputs),
        actions=each("a{i}", outputs),
        actions_q=each("a{i}[q]", outputs),
        action_rows=each("nodes[first_output + {i}]", outputs),
        action_sum=" + ".join(f"a{i}[q]" for i in range(outputs)),
    )
    # Numba keeps compiled code beside the file that a function is said to be from, until that file changes.
    file = functions[2].__code__.co_filename
    on_disk = Path(file).is_file() and not any(function.__closure__ for function in functions)
    name = f"{digest(functions)}_{states}_{inputs}_{outputs}"
    names: dict[str, Any] = dict(zip(("reset", "observe", "step"), map(inlined, functions), strict=True))
    exec(compile(glue, file, "exec"), names)
    lanes = {
        kind: compiled(bound(names[kind], f"{kind}_{name}"), on_disk=on_disk)
        for kind in ("reset_lanes", "observe_lanes", "step_lanes")
    }
    sizes = {"STATES": states, "INPUTS": inputs, "OUTPUTS": outputs}
    return compiled(bound(_rollout_template, f"rollout_{name}", **lanes, **sizes), on_disk=on_disk)


def digest(functions: tuple[Callable[..., Any], ...]) -> str:
    """What the functions do, as far as their own code says."""
    content = hashlib.sha256(inspect.getsource(_rollout_template).encode() + _GLUE.encode())
    for function in functions:
        code = function.__code__
        content.update(code.co_code + repr((code.co_names, [c for c in code.co_consts if _is_plain(c)])).encode())
    return content.hexdigest()[:16]


def _is_plain(constant: object) -> bool:
    return isinstance(constant, int | float | str | tuple | type(None))
