"""Hold-out splits: a choice of examples that depends on their number alone."""

import numpy as np


def hold_out(size: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide the indices of `size` examples into those kept and `count` held out.

    The same examples are held out for the same size for ever, and a larger count only adds to them. Returns the kept
    and the held-out indices, int64 (size - count,) and (count,), each in ascending order.
    """
    if not 0 < count < size:
        raise ValueError(f"cannot hold out {count} of {size} examples: expected at least 1 and fewer than all")
    # Raw Philox words are stable across NumPy versions (NEP 19); shuffles and distributions are not.
    order = np.argsort(np.random.Philox(key=size).random_raw(size), kind="stable")
    return np.sort(order[count:]), np.sort(order[:count])
