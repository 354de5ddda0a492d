"""How far to go: down to a number of heaters, or as far as a bound on the answers allows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from onnx2mzi.errors import InputError
from onnx2mzi.train.loop import Measure, Trainer
from onnx2mzi.train.methods.base import Method, Task
from onnx2mzi.train.network import PhaseNetwork

# Share of the heaters that a level of a walk has of the one before; and of the gap to the first
# level that failed, how often it is halved (in ratios).
SHARE = 0.6
HALVINGS = 2
FEWEST = 1e-4


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the frontier: heaters, sum of |phase| in rad, share of right answers (None
    without answers) and loss on the samples kept back, and whether the bound was kept."""

    heaters: int
    power_rad: float
    accuracy: float | None
    loss: float
    kept: bool


# A method may put another network in the place of the first.
Snapshot = tuple[PhaseNetwork, dict[str, Any]]


def _snapshot(trainer: Trainer) -> Snapshot:
    return trainer.network, trainer.network.state()


def _back(trainer: Trainer, to: Snapshot) -> None:
    trainer.network, state = to
    trainer.network.restore(state)


@dataclass
class Walk:
    """A walk towards fewer heaters, and the points that it met. `warned` is told of levels that
    could not be trained."""

    trainer: Trainer
    method: Method
    task: Task
    told: Callable[[Point], None] = lambda point: None
    points: list[Point] = field(default_factory=list)
    warned: Callable[[str], None] = lambda text: None

    def to(self, keep: int) -> None:
        """To at most `keep` heaters, in one go of the method. When the time is up before, what
        is too much goes all the same. Without heaters nothing is done."""
        if self.trainer.network.phases_active:
            self.method.shrink(self.trainer, self.task, keep)
        self.point(kept=True)

    def within(self, accepted: Callable[[], bool], first: int | None = None) -> bool:
        """As far as `accepted` (asked about the network as it is) allows; whether anything was.

        Levels in equal ratios until one fails, then between the last two. The network is left
        at the best level accepted. With `first` that is the first level. Once one was accepted,
        a level that cannot be trained is one that fails.
        """
        trainer = self.trainer
        best: Snapshot | None = None
        high = trainer.network.phases_own
        if first is not None and first < high:
            high = round(first / SHARE)
        else:
            best = _snapshot(trainer) if accepted() else None
            self.point(kept=best is not None)
        least = max(round(FEWEST * len(trainer.network.phase)), 1)
        low = 0
        while high * SHARE > least and not trainer.expired:
            count = round(high * SHARE)
            if self._level(count, accepted, best is not None):
                if trainer.network.phases_own >= high:
                    break  # Floors: fewer cannot be.
                best, high = _snapshot(trainer), trainer.network.phases_own
                continue
            low = count
            break
        for _ in range(HALVINGS if low and best is not None else 0):
            if trainer.expired or high - low < 2:
                break
            assert best is not None
            _back(trainer, best)
            count = round((low * high) ** 0.5)
            if self._level(count, accepted, True) and trainer.network.phases_own < high:
                best, high = _snapshot(trainer), trainer.network.phases_own
            else:
                low = count
        if best is not None:
            _back(trainer, best)
        return best is not None

    def _level(self, count: int, accepted: Callable[[], bool], spare: bool) -> bool:
        try:
            self.method.shrink(self.trainer, self.task, count)
        except InputError as error:
            if not spare:
                raise
            self.warned(f"{count:,} heaters: {error}")
            return False
        good = accepted()
        self.point(kept=good)
        return good

    def point(self, *, kept: bool) -> Measure:
        """Note where the network is."""
        found = self.trainer.measure()
        point = Point(found.heaters, found.power_rad, found.accuracy, found.loss, kept)
        self.points.append(point)
        self.told(point)
        return found
