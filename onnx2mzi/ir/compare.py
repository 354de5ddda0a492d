"""Whether two pieces of IR are the same, array by array and bit by bit."""

from dataclasses import fields, is_dataclass

import numpy as np


def identical(a: object, b: object) -> bool:
    """True if `a` and `b` have the same types, values and arrays (NaN equals NaN)."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(identical(x, y) for x, y in zip(a, b, strict=True))
    if is_dataclass(a):
        return all(identical(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return a == b
