"""Losses of many networks on many examples: single precision, a block of examples side by side."""

from __future__ import annotations

import math

import numpy as np

from untrained.wann.numerics.jit import inlined, inlined_reordered, reordered
from untrained.wann.numerics.vector_math import activate32, exp32

_BLOCK = 128  # examples side by side: a block of values of 500 nodes stays in the second-level cache
f32 = np.float32


def single(x: np.ndarray) -> np.ndarray:
    """Return x in single precision; numbers beyond it become infinite."""
    with np.errstate(over="ignore"):
        return x.astype(f32)


def in_blocks(x: np.ndarray) -> np.ndarray:
    """Return examples side by side, float32 (blocks, 1 + inputs, 128); the first row is 1, the bias; padded with 0."""
    count = -(-len(x) // _BLOCK)
    rows = np.zeros((count * _BLOCK, x.shape[1] + 1), f32)
    rows[:, 0] = 1
    rows[: len(x), 1:] = single(x)
    return np.ascontiguousarray(rows.reshape(count, _BLOCK, -1).transpose(0, 2, 1))


@inlined
def _add(z, source, weight, e):
    """Add source to z, times the weight of connection e if connections have weights."""
    if weight.shape[0] > 0:
        for q in range(_BLOCK):
            z[q] += weight[e] * source[q]
    else:
        for q in range(_BLOCK):
            z[q] += source[q]


@inlined
def _buffers(node_ptr):
    """Return room for sums, values and flags of the largest network's nodes."""
    most = 0
    for p in range(node_ptr.shape[0] - 1):
        most = max(most, node_ptr[p + 1] - node_ptr[p])
    return np.empty((most, _BLOCK), f32), np.empty((most, _BLOCK), f32), np.empty(most, np.uint8)


@inlined_reordered
def _sum_inputs(row0, rows, edge_ptr, src, weight, block, base, deeper):
    """Set base[k] to the part of a node's sum from inputs and bias, which is the same at every shared weight.

    deeper[k] becomes 1 if there is another part.
    """
    inputs = block.shape[0] - 1
    for k in range(rows):
        base[k, :] = f32(0.0)
        deeper[k] = 0
        for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
            if src[e] <= inputs:
                _add(base[k], block[src[e]], weight, e)
            else:
                deeper[k] = 1


@inlined_reordered
def _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes):
    """Set nodes[k] to the value of every computed node for one block."""
    for k in range(rows):
        z = nodes[k]
        z[:] = base[k]
        if deeper[k]:
            for e in range(edge_ptr[row0 + k], edge_ptr[row0 + k + 1]):
                if src[e] > inputs:
                    _add(z, nodes[src[e] - inputs - 1], weight, e)
        activate32(act[row0 + k], z, w, f32(0.0), f32(0.5), f32(1.0))


@inlined_reordered
def _sum_of_logs(values, count):
    """Return Σ log of values of at least 1; 32 of them are multiplied before each logarithm, which costs more."""
    result = 0.0
    for start in range(0, count, 32):
        product = 1.0
        for q in range(start, min(start + 32, count)):
            product *= np.float64(values[q])
        result += math.log(product)
    return result


@reordered
def cross_entropy(node_ptr, edge_ptr, src, act, weight, shared, blocks, y, outputs, count_right, losses, right):
    """Add the mean cross-entropy of every network at every weight to losses (P, V), and its accuracy to right."""
    inputs = blocks.shape[1] - 1
    base, nodes, deeper = _buffers(node_ptr)
    highest, total = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    w = np.empty(_BLOCK, np.float32)
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for b in range(blocks.shape[0]):
            start = b * _BLOCK
            count = min(_BLOCK, y.shape[0] - start)
            _sum_inputs(row0, rows, edge_ptr, src, weight, blocks[b], base, deeper)
            for v in range(shared.shape[0]):
                w[:] = shared[v]
                _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes)
                out = nodes[rows - outputs : rows]
                highest[:] = out[0]
                for o in range(1, outputs):
                    for q in range(_BLOCK):
                        highest[q] = max(highest[q], out[o, q])
                total[:] = f32(0.0)
                for o in range(outputs):
                    for q in range(_BLOCK):
                        total[q] += exp32(out[o, q] - highest[q])
                losses[p, v] += _sum_of_logs(total, count)
                for q in range(count):
                    losses[p, v] += np.float64(highest[q] - out[y[start + q], q])
                if count_right:
                    for q in range(count):
                        first = 0
                        while out[first, q] < highest[q]:
                            first += 1
                        broken = False
                        for o in range(outputs):
                            broken |= out[o, q] != out[o, q]
                        right[p, v] += first == y[start + q] and not broken
        for v in range(shared.shape[0]):
            losses[p, v] /= y.shape[0]
            right[p, v] /= y.shape[0]


@reordered
def squared_error(node_ptr, edge_ptr, src, act, weight, shared, blocks, y, outputs, losses):
    """Add the mean squared error of every network at every weight to losses (P, V)."""
    inputs = blocks.shape[1] - 1
    base, nodes, deeper = _buffers(node_ptr)
    w = np.empty(_BLOCK, np.float32)
    for p in range(node_ptr.shape[0] - 1):
        row0, rows = node_ptr[p], node_ptr[p + 1] - node_ptr[p]
        for b in range(blocks.shape[0]):
            start = b * _BLOCK
            _sum_inputs(row0, rows, edge_ptr, src, weight, blocks[b], base, deeper)
            for v in range(shared.shape[0]):
                w[:] = shared[v]
                _forward(row0, rows, inputs, edge_ptr, src, act, weight, base, deeper, w, nodes)
                for o in range(outputs):
                    for q in range(min(_BLOCK, y.shape[0] - start)):
                        losses[p, v] += (np.float64(nodes[rows - outputs + o, q]) - y[start + q, o]) ** 2
        losses[p] /= y.shape[0] * outputs
