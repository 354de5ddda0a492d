"""What a pass is, what it promises, and what it is given.

A pass is a frozen dataclass: its fields are its options (made by `option`), `run` is its
algorithm, `effect` is its promise. The manager holds it to that promise on every compile.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, ClassVar

from onnx2mzi.emulate.network import Network
from onnx2mzi.ir import Program, Stage
from onnx2mzi.physics.shifter import Passive
from onnx2mzi.pipeline.frontier import FrontierPoint
from onnx2mzi.pipeline.kept import Kept
from onnx2mzi.tech import Technology

EXACT_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Exact:
    """Every layer computes the same matrix, to 1e-9 of its largest entry."""


@dataclass(frozen=True, slots=True)
class Bounded:
    """Every layer's outputs move by at most `limit`, relative: |dW X|_F <= limit |W X|_F.

    The columns of X are all unit vectors, or with `on_data` the layer's inputs on the fitting
    data (the manager refuses such a promise without data).
    """

    limit: float
    on_data: bool = False


@dataclass(frozen=True, slots=True)
class BoundedDrop:
    """On inputs that were kept back from fitting, the network is worse by at most `limit`.

    With labels: accuracy falls by at most `limit` (0.005 is half a point). Without: the
    outputs' `Network.distance` to the original is at most `limit`.
    """

    limit: float


@dataclass(frozen=True, slots=True)
class Budgeted:
    """With data BoundedDrop(drop), without Bounded(error)."""

    error: float
    drop: float


Effect = Exact | Bounded | BoundedDrop | Budgeted


def option(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
) -> Any:
    """A pass's or back end's option: its default, one line of help, unit, and legal range."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": tuple(choices)}
    return field(default=default, metadata=metadata)


def _silent(message: str) -> None:
    return None


def _no_point(point: FrontierPoint) -> None:
    return None


def _no_progress(what: str, done: int, total: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Context:
    """What passes may know besides the program: the target, the data, the seed, and ears.

    `network` runs the program's host graph on the user's data; None without `--data`.
    `kept` has finished work of an interrupted run, if there is any place for such.
    `log` takes a sentence for the user, `progress` a thing being counted (what, done, total),
    `point` a chip that a search met. `begun` is the `perf_counter` time of the start.
    """

    technology: Technology
    passive: Passive = Passive.COMMON
    network: Network | None = None
    seed: int = 0
    workers: int = 1
    kept: Kept | None = None
    log: Callable[[str], None] = _silent
    progress: Callable[[str, int, int], None] = _no_progress
    point: Callable[[FrontierPoint], None] = _no_point
    begun: float = field(default_factory=perf_counter)


class Pass(ABC):
    """A step from program to program. Subclasses are frozen dataclasses.

    A pass that `moves_phases` gives heaters phases of its own choice: it must not follow the
    one that puts them on a driver's codes.
    """

    name: ClassVar[str]
    stage_in: ClassVar[Stage]
    stage_out: ClassVar[Stage]
    moves_phases: ClassVar[bool] = False

    @abstractmethod
    def effect(self, program: Program) -> Effect:
        """What this pass promises when it is given `program`."""

    @abstractmethod
    def run(self, program: Program, context: Context) -> Program:
        """The program after this pass. Must not change `program`."""
