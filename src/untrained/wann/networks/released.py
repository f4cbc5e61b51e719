"""Networks that the authors of WANN released, as their search wrote them (`*.out`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from untrained.wann.networks.activations import NAMES
from untrained.wann.networks.net import Net

# The largest that the authors released has 0.1 MB.
_MOST_BYTES = 16 << 20


def read_champion(path: str | Path, inputs: int, outputs: int) -> Net:
    """Read a network from an `.out` file that the authors of WANN released.

    The file is a matrix in CSV text, N rows of N + 1 numbers; row and column i < N are node i: the bias, the inputs,
    hidden nodes in evaluation order, the outputs. Element (i, j) is the weight of the connection from i to j; 0 and
    NaN (a connection that was switched off) mean that there is none. The last column has the activation ids; those of
    bias and inputs have no meaning.

    The weights are those that the search left in its genome, most of them 1: they were not tuned, and the authors'
    programs overwrite them. The weight agnostic network, all of whose weights are the shared one, is
    `net.replace(weights=None)`.

    Example:
        >>> from pathlib import Path
        >>> _ = Path("tiny.out").write_text("0,0,0.5,1\\n0,0,1,1\\n0,0,0,5\\n")  # bias and input to one tanh
        >>> wann.read_champion("tiny.out", inputs=1, outputs=1).weights.tolist()
        [0.5, 1.0]

    Args:
        path: the file.
        inputs: number of inputs, which the file does not hold.
        outputs: number of outputs.

    Returns:
        The network with the file's weights.

    Raises:
        OSError: there is no such file.
        ValueError: it is no `.out` file, or has other inputs and outputs; the message gives the reason.
    """
    for name, count in (("inputs", inputs), ("outputs", outputs)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1, got {count}")
    with Path(path).open("rb") as file:
        data = file.read(_MOST_BYTES + 1)
    try:
        return _net(_matrix(data), inputs, outputs)
    except ValueError as error:
        raise ValueError(f"{path} is no champion of {inputs} inputs and {outputs} outputs: {error}") from None


def _matrix(data: bytes) -> np.ndarray:
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
    try:
        lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ValueError("it is not ASCII text") from None
    matrix = np.loadtxt(lines, delimiter=",", comments=None, ndmin=2) if lines else np.empty((0, 0))
    if matrix.shape != (len(lines), len(lines) + 1):
        raise ValueError(f"it must have one column more than rows, got {matrix.shape[0]} rows of {matrix.shape[1]}")
    if np.isinf(matrix).any():
        line, column = np.argwhere(np.isinf(matrix))[0] + 1
        raise ValueError(f"line {line} must have finite numbers or nan, got infinity in column {column}")
    return matrix


def _net(matrix: np.ndarray, inputs: int, outputs: int) -> Net:
    count, first = len(matrix), inputs + 1
    if count < first + outputs:
        raise ValueError(f"it must have at least {first + outputs} nodes with the bias, got {count}")
    kinds = matrix[:, -1]
    wrong = np.flatnonzero(~np.isin(kinds, np.arange(1, len(NAMES) + 1)))
    if len(wrong):
        raise ValueError(f"line {wrong[0] + 1} must end in an id from 1 to {len(NAMES)}, got {kinds[wrong[0]]}")
    weights = np.nan_to_num(matrix[:, :-1], nan=0.0)
    # Transposed, so that the connections come by their targets.
    target, source = np.nonzero(weights.T)
    faults = {
        "into bias or inputs": target < first,
        "out of an output": source >= count - outputs,
        "not forwards": source >= target,
    }
    for fault, found in faults.items():
        if found.any():
            edge = found.argmax()
            raise ValueError(f"there is a connection {fault}, from {source[edge]} to {target[edge]}")
    edge_ptr = np.searchsorted(target, np.arange(first, count + 1))
    return Net(inputs, outputs, kinds[first:].astype(np.int8), edge_ptr, source, weights[source, target])
