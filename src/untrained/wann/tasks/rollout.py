"""Rollout of many networks in one environment: a compiled loop in which each episode has a lane."""

from __future__ import annotations

import hashlib
import inspect
import sys
import types
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from untrained.wann.numerics import jit, vector_math
from untrained.wann.numerics.jit import bound, compiled, inlined, plain
from untrained.wann.numerics.vector_math import activate

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
        total[q] += reward + {no_numbers}  # NaN for an output that is no number
        ended[q] = end
"""


# Bound anew by `compiled_rollout` for every environment.
STATES, INPUTS, OUTPUTS = 1, 1, 1


def _unbound(*_: object) -> None:
    raise NotImplementedError


reset_lanes = observe_lanes = step_lanes = _unbound


@inlined
def copy_lane(states, q, to, place):
    """Copy a state: a plain loop, since numba takes seconds to compile the assignment of a column."""
    for s in range(states.shape[0]):
        to[s, place] = states[s, q]


@inlined
def record(trace, p, steps, state, episode, running):
    """Copy the states of the running lanes of network p into the trace, unless it is empty."""
    for q in range(running if trace.shape[0] else 0):
        for s in range(state.shape[0]):
            trace[p, episode[q] // trace.shape[2], episode[q] % trace.shape[2], steps, s] = state[s, q]


def _rollout_template(
    node_ptr, edge_ptr, src, act, weight, shared, seeds, max_steps, totals, lengths, trace
):  # pragma: no cover  (compiled)
    """Play all episodes of every network: lane v·R + r has the shared weight v and the start r."""
    reps, lanes = seeds.shape[0], shared.shape[0] * seeds.shape[0]
    padded = (lanes + _LANES - 1) // _LANES * _LANES
    start, state = np.zeros((STATES, reps)), np.zeros((STATES, padded))
    reset_lanes(seeds, start)
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    nodes = np.zeros((INPUTS + 1 + most, padded))
    for q in range(padded):
        nodes[0, q] = 1.0
    w, total, ended = np.zeros(padded), np.zeros(padded), np.zeros(padded, np.uint8)
    episode = np.zeros(padded, np.int64)
    weighted = weight.shape[0] > 0
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for q in range(lanes):
            episode[q], w[q], total[q] = q, shared[q // reps], 0.0
            copy_lane(start, q % reps, state, q)
        # Lanes without an episode repeat the first one, so that no state comes up that no episode has.
        for q in range(lanes, padded):
            copy_lane(state, 0, state, q)
        running, steps = lanes, 0
        record(trace, p, steps, state, episode, running)
        while running > 0:
            width = (running + _LANES - 1) // _LANES * _LANES
            observe_lanes(state, nodes, width)
            for k in range(rows):
                z = nodes[INPUTS + 1 + k, :width]
                for q in range(width):
                    z[q] = 0.0
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
            record(trace, p, steps, state, episode, running)
            any_ended = steps >= max_steps
            for q in range(running):
                any_ended |= ended[q] != 0
            if any_ended:
                # The last running lane moves into the place of one that ended, so that no finished episode continues.
                for q in range(running - 1, -1, -1):
                    if ended[q] or steps >= max_steps:
                        totals[p, episode[q] // reps, episode[q] % reps] = total[q]
                        lengths[p, episode[q] // reps, episode[q] % reps] = steps
                        running -= 1
                        episode[q], w[q], total[q] = episode[running], w[running], total[running]
                        copy_lane(state, running, state, q)
                for q in range(running, width):
                    copy_lane(state, 0, state, q)


@lru_cache
def compiled_rollout(
    functions: tuple[Callable[..., Any], ...], states: int, inputs: int, outputs: int
) -> Callable[..., None]:
    """Return the loop that plays all episodes, compiled for one environment.

    Args:
        functions: its reset, observe and step.
        states: numbers in a state.
        inputs: numbers in an observation.
        outputs: numbers in an action.

    Returns:
        A function of (node_ptr, edge_ptr, src, act, weight, shared, seeds, max_steps, totals, lengths, trace); totals
        and lengths, (P, V, reps), take the reward and the length of every episode, trace (P, V, reps, max_steps + 1,
        states) its states, those after its end untouched; an empty trace takes none.
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
        no_numbers=" + ".join(f"0.0 * a{i}[q]" for i in range(outputs)),
    )
    # Numba keeps compiled code beside the file of a function's code object, until that file changes.
    file = functions[2].__code__.co_filename
    on_disk = Path(file).is_file()
    name = f"{digest(functions, with_library=True)}_{states}_{inputs}_{outputs}"
    names: dict[str, Any] = dict(zip(("reset", "observe", "step"), map(inlined, functions), strict=True))
    names["__name__"] = __name__  # numba looks for the module of functions that it finds on disk
    exec(compile(glue, file, "exec"), names)
    lanes = {
        kind: compiled(bound(names[kind], f"{kind}_{name}", file), on_disk=on_disk)
        for kind in ("reset_lanes", "observe_lanes", "step_lanes")
    }
    sizes = {"STATES": states, "INPUTS": inputs, "OUTPUTS": outputs}
    return compiled(bound(_rollout_template, f"rollout_{name}", file, **lanes, **sizes), on_disk=on_disk)


def digest(functions: tuple[Callable[..., Any], ...], *, with_library: bool = False) -> str:
    """Return a hash of the functions' code, of all that they call, and of the values that they find outside.

    `with_library`: also of the files of this library that end up in the compiled loop.
    """
    content = hashlib.sha256()
    for module in (sys.modules[__name__], jit, vector_math) if with_library else ():
        content.update(inspect.getsource(module).encode())
    seen: set[int] = set()
    for function in functions:
        content.update(repr(_describe(function, seen)).encode())
    return content.hexdigest()[:16]


def _describe(thing: Any, seen: set[int]) -> Any:
    thing = plain(thing)
    if isinstance(thing, bool | int | float | complex | str | bytes | type(None)):
        return type(thing).__name__, thing
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, thing.tobytes()
    if isinstance(thing, np.generic):
        return thing.dtype.str, thing.tobytes()
    if id(thing) in seen:
        return "again"
    if isinstance(thing, tuple | list):
        return [_describe(each, seen) for each in thing]
    if isinstance(thing, types.CodeType):
        return thing.co_code, thing.co_names, [_describe(each, seen) for each in thing.co_consts]
    if isinstance(thing, types.FunctionType):
        seen.add(id(thing))
        cells = [cell.cell_contents for cell in thing.__closure__ or ()]
        outside = [thing.__globals__.get(name) for name in sorted(_names(thing.__code__))]
        parts = (thing.__code__, thing.__defaults__, sorted((thing.__kwdefaults__ or {}).items()), cells, outside)
        return [_describe(part, seen) for part in parts]
    if isinstance(thing, types.ModuleType):
        # Its values might be read; its functions have a name each.
        values = {name: value for name, value in vars(thing).items() if isinstance(value, bool | int | float)}
        return thing.__name__, sorted(values.items())
    return type(thing).__qualname__


def _names(code: types.CodeType) -> set[str]:
    nested = (each for each in code.co_consts if isinstance(each, types.CodeType))
    return set(code.co_names).union(*map(_names, nested))
