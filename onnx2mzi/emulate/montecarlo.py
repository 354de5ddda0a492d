"""Many imperfect copies of a chip, each run on the data: accuracy, spread, yield.

Copy c of a seed is the same chip whatever the number of workers, the order of work and the
sizes of the imperfections: points of a scan can be compared copy by copy. Work goes out in
chunks, results are taken in order, so that stopping early is the same everywhere as well.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from onnx2mzi.emulate.accuracy import score_output, top1
from onnx2mzi.emulate.host import HostRunner
from onnx2mzi.emulate.imperfect import How, ImperfectProgram
from onnx2mzi.emulate.journal import Journal
from onnx2mzi.emulate.noise import NoisyRunner
from onnx2mzi.errors import InputError
from onnx2mzi.ir import Host
from onnx2mzi.physics.arrays import Real

Progress = Callable[[int, int], None]

# Matrices drawn at once: MZIs times copies. As many copies as lanes take the time of one.
_AT_ONCE = 2_400_000
LANES = 8
_MOST_AT_ONCE = 32
LEAST_COPIES = 8


@dataclass(frozen=True, slots=True)
class Score:
    """One copy on the data: accuracy with labels; share of answers that are not the ideal
    chip's, if outputs are class scores; ||y' - y|| / ||y|| of all float outputs."""

    accuracy: float | None
    changed: float | None
    error: float


class Bench:
    """A prepared chip, its host graph, and the data it is run on. Can be pickled."""

    def __init__(
        self,
        chip: ImperfectProgram,
        host: Host,
        inputs: dict[str, np.ndarray],
        labels: np.ndarray | None,
        *,
        runner: HostRunner | None = None,
    ) -> None:
        self.chip, self.host, self.inputs, self.labels = chip, host, inputs, labels
        self._prepare(runner)

    def _prepare(self, runner: HostRunner | None) -> None:
        self.runner = runner or HostRunner(self.host)
        self._noise: NoisyRunner | None = None
        self.ideal = self.outputs(self.chip.ideal)
        self.classifies = score_output(self.ideal) is not None
        self._answers = top1(self.ideal) if self.classifies else None

    def __getstate__(self) -> tuple[object, ...]:
        return self.chip, self.host, self.inputs, self.labels

    def __setstate__(self, state: tuple[object, ...]) -> None:
        self.chip, self.host, self.inputs, self.labels = state  # type: ignore[assignment]
        self._prepare(None)

    def outputs(self, matrices: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The network's outputs with these matrices in its layers."""
        return self.runner.run(matrices, self.chip.program.layers, self.inputs)

    def score(self, matrices: dict[str, np.ndarray]) -> Score:
        """How good the network is with these matrices."""
        return self._judged(self.outputs(matrices))

    def drawn(self, matrices: dict[str, np.ndarray], how: How, copy: int) -> Score:
        """As `score`, for a copy with these matrices: with the noise of its samples."""
        if not how.sizes.noisy:
            return self.score(matrices)
        return self._judged(self.noise.run(matrices, self.inputs, how, copy))

    @property
    def noise(self) -> NoisyRunner:
        """The network with noise at its layers; made when it is first needed."""
        if self._noise is None:
            layers = self.chip.program.layers
            self._noise = NoisyRunner(self.host, layers, self.inputs, self.chip.ideal)
        return self._noise

    def _judged(self, found: dict[str, np.ndarray]) -> Score:
        accuracy = changed = None
        if self._answers is not None:
            answers = top1(found)
            changed = float(np.mean(answers != self._answers))
            if self.labels is not None:
                accuracy = float(np.mean(answers == self.labels))
        return Score(accuracy, changed, _distance(found, self.ideal))

    @property
    def ideal_score(self) -> Score:
        """The ideal chip on the data."""
        return self.score(self.chip.ideal)


def _distance(found: dict[str, np.ndarray], ideal: dict[str, np.ndarray]) -> float:
    difference = power = 0.0
    for name, array in ideal.items():
        if array.dtype.kind == "f":
            wanted = array.astype(np.float64)
            difference += float(((found[name] - wanted) ** 2).sum())
            power += float((wanted**2).sum())
    return float(np.sqrt(difference / power)) if power > 0 else float(np.sqrt(difference))


def scores(bench: Bench, how: How, copies: Sequence[int]) -> list[Score]:
    """The scores of these copies; what a worker does."""
    return [
        bench.drawn(matrices, how, copy)
        for copy, matrices in zip(copies, bench.chip.matrices(how, copies), strict=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much to draw: at most `copies`; with `half_width`, until the confidence interval of the
    mean (accuracy, else error) is no wider on each side; `workers` threads."""

    copies: int = 100
    half_width: float | None = None
    confidence: float = 0.95
    workers: int = 1

    def __post_init__(self) -> None:
        if self.copies < 1 or self.workers < 1:
            raise InputError("at least one copy and one worker are needed")
        if not 0 < self.confidence < 1:
            raise InputError(f"a confidence of {self.confidence:g} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Samples:
    """Scores of copies 0, 1, ... of one kind of chip."""

    how: How
    scores: tuple[Score, ...]
    confidence: float = field(default=0.95)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def values(self) -> Real:
        """Accuracies, or, without labels, shares of unchanged answers, or errors; shape (C,)."""
        return np.array([_value(score) for score in self.scores])

    @property
    def errors(self) -> Real:
        """Relative errors of the outputs, shape (C,)."""
        return np.array([score.error for score in self.scores])

    @property
    def mean(self) -> float:
        """Mean of `values`."""
        return float(self.values.mean())

    @property
    def std(self) -> float:
        """Standard deviation of `values` (of a sample)."""
        return float(self.values.std(ddof=1)) if len(self) > 1 else 0.0

    @property
    def half_width(self) -> float:
        """Half of the confidence interval of the mean; infinite for one copy. Student's t."""
        return half_width(self.values, self.confidence)

    def share_at_least(self, threshold: float) -> float:
        """Yield: the share of copies whose value is `threshold` or more."""
        return float(np.mean(self.values >= threshold - 1e-12))

    def yield_interval(self, threshold: float) -> tuple[float, float]:
        """Confidence interval of the yield: Wilson, J. Am. Stat. Assoc. 22, 209 (1927)."""
        from scipy.special import ndtri

        n, p = len(self), self.share_at_least(threshold)
        z = float(ndtri(0.5 + self.confidence / 2))
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _value(score: Score) -> float:
    if score.accuracy is not None:
        return score.accuracy
    return 1.0 - score.changed if score.changed is not None else score.error


def half_width(values: Real, confidence: float) -> float:
    """Half of Student's confidence interval of the mean of `values`, shape (C,)."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return float("inf")
    return float(stdtrit(n - 1, 0.5 + confidence / 2) * np.std(values, ddof=1) / np.sqrt(n))


def chunk_size(bench: Bench) -> int:
    """Copies drawn at once. Results do not depend on it: each copy is the same in any company."""
    return max(1, min(_MOST_AT_ONCE, _AT_ONCE // max(bench.chip.mzis, 1)))


def sampled(
    bench: Bench,
    how: How,
    effort: Effort,
    *,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Samples:
    """Draw copies until there are enough. What a journal holds is not drawn again.

    `executor` takes the place of threads: processes, or the executor of a Dask client.
    """
    known = journal.known(how) if journal is not None else []
    taken = [_score(row) for row in known[: effort.copies]]
    for done in range(LEAST_COPIES, len(taken)):
        if _enough(taken[:done], effort):
            taken = taken[:done]
            break
    if not _enough(taken, effort):
        # Work for all, in lanes that are full.
        share = effort.copies // (2 * effort.workers) // LANES * LANES
        size = min(chunk_size(bench), max(share, LANES))
        chunks = _chunks(len(taken), effort.copies, size)
        for part in _in_order(bench, how, chunks, effort, executor):
            for score in part:
                taken.append(score)
                if journal is not None:
                    row = (score.accuracy, score.changed, score.error)
                    journal.add(how, len(taken) - 1, row)
                if _enough(taken, effort):
                    break
            if progress is not None:
                progress(len(taken), effort.copies)
            if _enough(taken, effort):
                break
    return Samples(how, tuple(taken), effort.confidence)


def _score(row: Sequence[float | None]) -> Score:
    accuracy, changed, error = row
    return Score(accuracy, changed, np.inf if error is None else error)


def _enough(taken: Sequence[Score], effort: Effort) -> bool:
    if len(taken) >= effort.copies:
        return True
    if effort.half_width is None or len(taken) < LEAST_COPIES:
        return False
    values = np.array([_value(score) for score in taken])
    return half_width(values, effort.confidence) <= effort.half_width


def _chunks(first: int, stop: int, size: int) -> Iterator[range]:
    for start in range(first, stop, size):
        yield range(start, min(start + size, stop))


def _in_order(
    bench: Bench, how: How, chunks: Iterator[range], effort: Effort, executor: Executor | None
) -> Iterator[list[Score]]:
    """The scores of all chunks in order, a few of them under way at a time."""
    if executor is None and effort.workers == 1:
        for chunk in chunks:
            yield scores(bench, how, chunk)
        return
    own = ThreadPoolExecutor(effort.workers) if executor is None else None
    pool = executor or own
    assert pool is not None
    waiting: deque[Future[list[Score]]] = deque()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(scores, bench, how, chunk))
            if len(waiting) > 2 * effort.workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        if own is not None:
            own.shutdown()
