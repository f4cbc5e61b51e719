"""Small forms of the weights in an ONNX graph: bytes that a few standard operators turn into the same floats.

A found network has few distinct weights: -σ, 0 and σ, and with norms folded in the same times a factor per channel.
With k of them a byte holds m = ⌊8 / log₂ k⌋ digits to base k (five weights where there are three), and the graph looks
them up: Gather(values, Gather(digits, bytes)). Runtimes do so once, when they load the file. Where the kept weights
are all different, the file has a bit for each weight and the kept ones as floats. All forms are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

_MOST_VALUES = 256
_OVERHEAD = 3500  # more than the bytes of the operators of one weight, and of the digits, which all weights share
_INT32 = 6  # in ONNX


def pack_(graph: ir.Graph) -> None:
    """Replace each float32 initializer by operators that compute it, where that takes less bytes; in place."""
    import onnx_ir as ir

    new = Operators(graph, "packed")
    for value in list(graph.initializers.values()):
        if value.const_value is None or value.dtype != ir.DataType.FLOAT or value.is_graph_output():
            continue
        form = _choose_form(value.const_value.numpy())
        if form is not None:
            result = form.add_to(new)
            result.shape, result.type = value.shape, value.type
            ir.convenience.replace_all_uses_with(value, result)
            del graph.initializers[str(value.name)]
            result.name = value.name
    new.insert_()


class Operators:
    """Operators and constants to be put at the start of a graph, with a prefix and a number as names."""

    def __init__(self, graph: ir.Graph, prefix: str) -> None:
        self._graph, self._prefix, self._named = graph, prefix, 0
        self._nodes, self._constants = [], {}

    def add(self, operator: str, *operands: Any, **attributes: Any) -> Any:
        """Add an operator, and return its result; operands are values of the graph, or arrays that become constants."""
        import onnx_ir as ir

        inputs = [self.constant(each) if isinstance(each, np.ndarray) else each for each in operands]
        node = ir.node(operator, inputs, attributes)
        node.outputs[0].name = self._make_name()
        self._nodes.append(node)
        return node.outputs[0]

    def constant(self, array: np.ndarray) -> Any:
        """Return a constant of the graph; equal arrays are the same one."""
        import onnx_ir as ir

        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            tensor = ir.tensor(np.ascontiguousarray(array), name=self._make_name())
            type_, shape = ir.TensorType(tensor.dtype), ir.Shape(array.shape)
            value = ir.Value(name=tensor.name, type=type_, shape=shape, const_value=tensor)
            self._graph.register_initializer(value)
            self._constants[key] = value
        return self._constants[key]

    def digits(self, base: int) -> Any:
        """Return the digits to this base of every byte, int32 (baseᵐ, m)."""
        key = "digits", base
        if key not in self._constants:
            powers = base ** np.arange(_count_digits(base))
            digits = np.arange(base ** len(powers))[:, None] // powers % base
            self._constants[key] = self.add("Cast", digits.astype(np.uint8), to=_INT32)
        return self._constants[key]

    def insert_(self) -> None:
        """Put the operators before those of the graph."""
        if self._nodes:
            self._graph.insert_before(self._graph[0], self._nodes)

    def _make_name(self) -> str:
        self._named += 1
        return f"{self._prefix}/{self._named}"


@dataclass(frozen=True)
class _FewValues:
    """Weights of few distinct values, the same ones everywhere or others in each row."""

    values: np.ndarray  # (rows, base)
    codes: np.ndarray  # (rows, columns)
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return -(-self.codes.size // _count_digits(self.values.shape[1])) + self.values.nbytes

    def add_to(self, new: Operators) -> Any:
        """Add the operators, and return the weights."""
        rows, base = self.values.shape
        if rows == 1:
            table = new.add("Gather", self.values[0], new.digits(base))
            return _look_up(new, table, self.codes, base, self.shape)
        codes = _look_up(new, new.digits(base), self.codes, base, self.shape)
        starts = base * np.arange(rows, dtype=np.int32).reshape(-1, *(1 for _ in self.shape[1:]))
        return new.add("Gather", self.values.ravel(), new.add("Add", codes, starts))


@dataclass(frozen=True)
class _KeptFloats:
    """Weights of which many are 0: a bit for each, and the others as they are."""

    kept: np.ndarray  # all, as booleans
    values: np.ndarray
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return -(-self.kept.size // 8) + self.values.nbytes

    def add_to(self, new: Operators) -> Any:
        """Add the operators, and return the weights."""
        bits = _look_up(new, new.digits(2), self.kept.astype(np.uint8), 2, (self.kept.size,))
        places = new.add("Mul", bits, new.add("CumSum", bits, np.array(0, np.int32)))
        flat = new.add("Gather", np.concatenate([np.zeros(1, np.float32), self.values]), places)
        return new.add("Reshape", flat, np.array(self.shape, np.int64))


def _choose_form(weight: np.ndarray) -> _FewValues | _KeptFloats | None:
    """Return the form of the least bytes, or None if that is the array itself."""
    if weight.nbytes <= _OVERHEAD:
        return None
    rows = weight.reshape(len(weight), -1) if weight.ndim > 1 else weight.reshape(1, -1)
    kept = weight.ravel() != 0
    forms: list[_FewValues | _KeptFloats] = [_KeptFloats(kept, weight.ravel()[kept], weight.shape)]
    for matrix in (rows.reshape(1, -1), rows) if len(rows) > 1 else (rows,):
        found = _find_values(matrix)
        if found is not None:
            forms.append(_FewValues(*found, weight.shape))
    best = min(forms, key=lambda form: form.bytes)
    return best if best.bytes + _OVERHEAD < weight.nbytes else None


def _find_values(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the distinct values (rows, base) and the number of each weight's, or None if there are too many."""
    ordered = np.sort(matrix, axis=1)
    first = np.ones(ordered.shape, bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    counts = first.sum(axis=1)
    base = max(2, int(counts.max()))
    if base > _MOST_VALUES:
        return None
    values, codes = np.zeros((len(matrix), base), np.float32), np.empty(matrix.shape, np.uint8)
    for row, count in enumerate(counts):
        values[row, :count] = ordered[row, first[row]]
        codes[row] = np.searchsorted(values[row, :count], matrix[row])
    return values, codes


def _count_digits(base: int) -> int:
    """Return the digits in a byte: the largest m with baseᵐ ≤ 256."""
    return next(m for m in range(8, 0, -1) if base**m <= 256)


def _look_up(new: Operators, table: Any, codes: np.ndarray, base: int, shape: tuple[int, ...]) -> Any:
    """Pack codes into bytes, and return what the rows of the table have for the digits of each, in this shape."""
    count, length = _count_digits(base), codes.size
    padded = np.pad(codes.ravel(), (0, -length % count)).reshape(-1, count)
    packed = sum(padded[:, digit].astype(np.int64) * base**digit for digit in range(count))
    found = new.add("Gather", table, new.add("Cast", np.asarray(packed, np.uint8), to=_INT32))
    if padded.size != length:
        flat = new.add("Reshape", found, np.array([-1], np.int64))
        found = new.add("Slice", flat, np.array([0], np.int64), np.array([length], np.int64))
    return new.add("Reshape", found, np.array(shape, np.int64))
