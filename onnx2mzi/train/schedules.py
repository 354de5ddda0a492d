"""Learning rates over a training: factors of the peak rate for the share 0..1 that is behind."""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]


def constant(t: float) -> float:
    """Always the peak, after a warm-up of 5 %."""
    return min(1.0, t / 0.05 + 0.02)


def one_cycle(t: float) -> float:
    """Up along a cosine for 25 %, then down to nearly nothing (Smith, arXiv 1803.09820)."""
    up = 0.25
    if t < up:
        return 0.04 + 0.96 * 0.5 * (1 - math.cos(math.pi * t / up))
    return 0.5 * (1 + math.cos(math.pi * (t - up) / (1 - up))) * 0.999 + 0.001


def llr(t: float) -> float:
    """Linear learning rate restarting: 10 % warm-up, then straight down to nothing.

    Zimmer, Spiegel and Pokutta, arXiv 2111.00843.
    """
    return t / 0.1 if t < 0.1 else max((1.0 - t) / 0.9, 0.0)


def scaled(schedule: Schedule, factor: float) -> Schedule:
    """A schedule with another peak."""
    return lambda t: factor * schedule(t)


def allr(moved: float, pruned: float, epochs: float, epochs_before: float) -> Schedule:
    """Adaptive LLR: the peak follows how much pruning has moved the network.

    `moved` is |dW| / |W|, `pruned` the share that went in this round: factor
    clip(moved / sqrt(pruned), epochs / epochs_before, 1) (Zimmer et al., as above, section 3).
    """
    low = min(1.0, epochs / max(epochs_before, 1e-9))
    factor = min(max(moved / math.sqrt(max(pruned, 1e-9)), low), 1.0)
    return scaled(llr, factor)


def hold_then_cosine(hold: float) -> Schedule:
    """The peak for the share `hold` (after a short warm-up), then down along a cosine."""

    def rate(t: float) -> float:
        if t < hold:
            return min(1.0, t / 0.02 + 0.02)
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (t - hold) / (1 - hold)))

    return rate


BY_NAME: dict[str, Schedule] = {"constant": constant, "one-cycle": one_cycle, "llr": llr}
