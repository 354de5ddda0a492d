"""What the verifier reports."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `where` is the id of the part (`fc1.g0.t3.u.c3.p2`)."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


Problems = Iterator[Problem]


def first(wrong: npt.NDArray[np.bool_], what: str, names: Callable[[int], str]) -> Problems:
    """One problem for all marked elements: the first of them, and how many there are."""
    marked = np.flatnonzero(wrong)
    if len(marked):
        more = f" (and {len(marked) - 1} more)" if len(marked) > 1 else ""
        yield Problem(names(int(marked[0])), f"{what}{more}")
