"""What the verifier reports."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `where` is the id of the part (`fc1.g0.t3.u.c3.p2`)."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


Problems = Iterator[Problem]
