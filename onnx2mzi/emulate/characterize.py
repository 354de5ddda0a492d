"""Which imperfections hurt a chip, how much, and where.

Scans: accuracy against the size of every imperfection, and of several together. Criticality:
one layer or block imperfect at a time. Sensitivity: every device to first order, held against
drawn copies, and weighed by how much of a layer's error reaches the network's output.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from onnx2mzi.emulate.imperfect import BLOCKS, Calibration, How, Region
from onnx2mzi.emulate.journal import Journal
from onnx2mzi.emulate.montecarlo import Bench, Effort, Samples, Score, chunk_size, sampled
from onnx2mzi.emulate.sensitivity import BlockSensitivity, expected_errors, sensitivities
from onnx2mzi.emulate.setting import Setting, set_as
from onnx2mzi.physics.arrays import Matrix, Real
from onnx2mzi.physics.imperfection import SIZES, Imperfections
from onnx2mzi.physics.quantization import CodeLaw, DriveCode

Progress = Callable[[str, int, int], None]

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
BITS = (8, 7, 6, 5, 4)
# The same for every copy: one is enough.
CERTAIN = frozenset({"split_offset_rad", "loss_scale", "crosstalk_scale", "thermal", "bits"})
STATIC = ("fabrication_scale", "gradient_rad_mm2")
MEAN_LOSS = ("loss_scale",)
JOINT = {
    "settings": "drives, couplers, crosstalk, spread of loss",
    "tuned": "settings and the technology's losses",
    "all": "all, static phase errors among them",
}
# Copies that check the first order, and how much smaller their errors are.
CHECK_COPIES, CHECK_FACTOR = 48, 0.1
# Parts of a mesh along and across the light that are checked alone, and copies of each.
QUARTERS, PLACE_COPIES = 4, 24
# Regions of a chip with more layers than this are whole layers only.
MOST_REGIONS = 60
WORST = 40


@dataclass(frozen=True, slots=True)
class Point:
    """One size of one imperfection (`kind` a field of Imperfections, or one of JOINT)."""

    kind: str
    factor: float
    size: float
    samples: Samples


@dataclass(frozen=True, slots=True)
class Check:
    """A layer's expected squared relative output error, the same measured on copies, and the
    network's squared relative error that came of it; small phase and split errors."""

    layer: str
    expected: float
    measured: float
    network: float

    @property
    def weight(self) -> float:
        """Squared error of the network per squared error of the layer."""
        return self.network / self.expected if self.expected > 0 else 0.0


@dataclass(frozen=True, slots=True)
class PlaceCheck:
    """Only the MZIs of a layer's V or U in columns, or with upper ports, `first` to `stop` - 1
    imperfect: the expected squared relative error of its output, and the same on drawn copies."""

    layer: str
    block: str
    along: str
    first: int
    stop: int
    expected: float
    measured: float


@dataclass(frozen=True, slots=True)
class Device:
    """One of the devices that matter most: its part of the network's squared relative error."""

    layer: str
    tile: str
    block: str
    column: int
    port: int
    theta_rad: float
    error: float
    share: float


@dataclass(frozen=True, slots=True)
class Characterization:
    """Everything found. `drop` is what a good chip may lose against the ideal one."""

    sizes: Imperfections
    ideal: Score
    points: tuple[Point, ...]
    regions: tuple[tuple[Region, Samples], ...]
    blocks: tuple[BlockSensitivity, ...]
    checks: tuple[Check, ...]
    worst: tuple[Device, ...]
    drop: float
    samples: int
    places: tuple[PlaceCheck, ...] = ()

    @property
    def ideal_value(self) -> float:
        """The ideal chip in the unit of `Samples.values`: accuracy, unchanged answers, error."""
        if self.ideal.accuracy is not None:
            return self.ideal.accuracy
        return 1.0 if self.ideal.changed is not None else 0.0

    @property
    def measure(self) -> str:
        """What values are."""
        if self.ideal.accuracy is not None:
            return "accuracy"
        return "unchanged answers" if self.ideal.changed is not None else "relative error"

    def good_share(self, samples: Samples) -> float:
        """The yield: chips that lose at most `drop`, or whose error is at most `drop`."""
        if self.measure == "relative error":
            return float(np.mean(samples.values <= self.drop))
        return samples.share_at_least(self.ideal_value - self.drop)

    def weights(self) -> dict[str, float]:
        """Each layer's `Check.weight`."""
        return {check.layer: check.weight for check in self.checks}

    def map_of(self, block: BlockSensitivity) -> Real:
        """Expected relative error of the network by each MZI of a block alone, (K,)."""
        weight = self.weights().get(block.layer, 0.0)
        return np.asarray(np.sqrt(weight * block.expected(first_order(self.sizes))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What is asked: sizes about which scans run, how hard to look, and how chips are tuned.

    `most_together` bounds the copies of points whose heaters are set together.
    """

    sizes: Imperfections
    effort: Effort = field(default_factory=Effort)
    seed: int = 0
    calibration: Calibration = Calibration.GAIN
    setting: Setting = Setting.EACH
    most_together: int | None = None
    drop: float = 0.01
    factors: tuple[float, ...] = FACTORS
    bits: tuple[int, ...] = BITS
    law: CodeLaw = CodeLaw.PHASE
    vectors: int = 2000


def joint_sizes(sizes: Imperfections, name: str) -> Imperfections:
    """The imperfections that one of JOINT holds."""
    left_out = {"settings": (*STATIC, *MEAN_LOSS), "tuned": STATIC, "all": ()}[name]
    return sizes.only(*(part for part in (*SIZES, "bits") if part not in left_out))


def first_order(sizes: Imperfections) -> Imperfections:
    """The part of the sizes that sensitivities know: phases, couplers, spread of loss."""
    return sizes.only("phase_rad", "split_rad", "loss_sigma_db")


def characterized(
    bench: Bench,
    questions: Questions,
    *,
    journal: Journal | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Characterization:
    """Ask everything. Numbers depend on the bench and the questions but for `effort.workers`."""
    plans = list(_scans(questions))
    regions = list(_regions(bench, questions))
    total = len(plans) + len(regions)

    def draw(how: How, effort: Effort, what: str, done: int) -> Samples:
        if progress is not None:
            progress(what, done, total)
        most = questions.most_together
        if how.retune and most is not None:
            effort = replace(effort, copies=min(effort.copies, most))
        return sampled(bench, how, effort, journal=journal, executor=executor)

    points = []
    for done, (kind, factor, size, how) in enumerate(plans):
        effort = questions.effort
        effort = replace(effort, copies=1) if kind in CERTAIN else effort
        points.append(Point(kind, factor, size, draw(how, effort, "imperfections", done)))
    found = []
    for done, how in enumerate(regions, len(plans)):
        found.append((how.region, draw(how, questions.effort, "imperfections", done)))
    if progress is not None:
        progress("imperfections", total, total)
    layer_inputs = bench.runner.layer_inputs(
        bench.chip.ideal, bench.chip.program.layers, _some(bench.inputs, questions.vectors)
    )
    blocks = tuple(sensitivities(bench.chip, layer_inputs))
    checks = tuple(_checks(bench, questions, blocks, layer_inputs))
    places = tuple(_places(bench, questions, blocks, layer_inputs))
    result = Characterization(
        sizes=questions.sizes,
        ideal=bench.ideal_score,
        points=tuple(points),
        regions=tuple(found),
        blocks=blocks,
        checks=checks,
        worst=(),
        drop=questions.drop,
        samples=min(len(array) for array in bench.inputs.values()),
        places=places,
    )
    return replace(result, worst=tuple(_worst(result)))


def _scans(questions: Questions) -> Iterator[tuple[str, float, float, How]]:
    """Every point of every scan: kind, factor, size, how."""
    base = How(Imperfections(), questions.seed, calibration=questions.calibration)

    def made(sizes: Imperfections) -> How:
        return set_as(replace(base, sizes=sizes), questions.setting)

    for name in SIZES:
        size = getattr(questions.sizes, name)
        if size:
            for factor in questions.factors:
                sizes = questions.sizes.only(name).times(factor)
                yield name, factor, size * factor, made(sizes)
    for bits in questions.bits:
        code = DriveCode(bits, questions.law)
        yield "bits", float(bits), float(bits), made(Imperfections(bits=code))
    for name in JOINT:
        for factor in questions.factors:
            sizes = joint_sizes(questions.sizes, name).times(factor)
            yield name, factor, factor, made(sizes)


def _regions(bench: Bench, questions: Questions) -> Iterator[How]:
    """One layer, then one block of one layer imperfect at a time, at twice the usual sizes."""
    sizes = joint_sizes(questions.sizes, "settings").times(2.0)
    how = How(sizes, questions.seed, calibration=questions.calibration)
    how = set_as(how, questions.setting)
    names = [item.layer.name for item in bench.chip.layers if item.grids]
    for name in names:
        yield replace(how, region=Region(layer=name))
    if len(names) * len(BLOCKS) <= MOST_REGIONS:
        for name in names:
            for block in BLOCKS:
                yield replace(how, region=Region(layer=name, block=block))


def _some(inputs: dict[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    return {name: array[:most] for name, array in inputs.items()}


def _checks(
    bench: Bench,
    questions: Questions,
    blocks: tuple[BlockSensitivity, ...],
    layer_inputs: dict[str, np.ndarray],
) -> Iterator[Check]:
    sizes = _small(questions)
    expected = expected_errors(list(blocks), sizes)
    for item in bench.chip.layers:
        name = item.layer.name
        if name not in expected:
            continue
        how = How(sizes, questions.seed, Region(layer=name), calibration=Calibration.NONE)
        x, measured, network = layer_inputs[name], 0.0, 0.0
        power = float(np.linalg.norm(item.ideal @ x) ** 2)
        for matrices in _drawn(bench, how, CHECK_COPIES):
            change = float(np.linalg.norm((matrices[name] - item.ideal) @ x) ** 2)
            measured += change / power / CHECK_COPIES if power > 0 else 0.0
            network += bench.score(matrices).error ** 2 / CHECK_COPIES
        yield Check(name, expected[name], measured, network)


def _drawn(bench: Bench, how: How, copies: int) -> Iterator[dict[str, Matrix]]:
    """The matrices of copies 0, 1, ..., a chunk at a time."""
    size = chunk_size(bench)
    for first in range(0, copies, size):
        yield from bench.chip.matrices(how, range(first, min(first + size, copies)))


def _small(questions: Questions) -> Imperfections:
    """Phase and split errors that are small enough for first order."""
    sizes = questions.sizes.only("phase_rad", "split_rad").times(CHECK_FACTOR)
    return Imperfections(phase_rad=1e-3, split_rad=1e-3) if sizes == Imperfections() else sizes


def _places(
    bench: Bench,
    questions: Questions,
    blocks: tuple[BlockSensitivity, ...],
    layer_inputs: dict[str, np.ndarray],
) -> Iterator[PlaceCheck]:
    """Quarters of the columns and of the ports of every mesh, on drawn copies."""
    groups: dict[tuple[str, str], list[BlockSensitivity]] = {}
    for block in blocks:
        if block.block != "s" and len(block.theta_rad):
            groups.setdefault((block.layer, block.block), []).append(block)
    if len(groups) > MOST_REGIONS:
        return
    sizes, ideals = _small(questions), bench.chip.ideal
    for (layer, name), group in groups.items():
        x = layer_inputs[layer]
        power = float(np.linalg.norm(ideals[layer] @ x) ** 2)
        for along in ("column", "port"):
            last = max(int(getattr(block, along).max()) for block in group) + 1
            edges = np.unique(np.linspace(0, last, QUARTERS + 1).round().astype(int))
            for first, stop in pairwise(edges.tolist()):
                ends = (first, stop)
                region = (
                    Region(layer, name, columns=ends)
                    if along == "column"
                    else Region(layer, name, ports=ends)
                )
                how = How(sizes, questions.seed, region, calibration=Calibration.NONE)
                expected = sum(
                    float(block.expected(sizes)[_between(getattr(block, along), ends)].sum())
                    for block in group
                )
                drawn = bench.chip.matrices(how, range(PLACE_COPIES))
                moved = [np.linalg.norm((found[layer] - ideals[layer]) @ x) ** 2 for found in drawn]
                measured = float(np.mean(moved)) / power if power > 0 else 0.0
                yield PlaceCheck(layer, name, along, first, stop, expected, measured)


def _between(values: np.ndarray, ends: tuple[int, int]) -> np.ndarray:
    return (values >= ends[0]) & (values < ends[1])


def _worst(found: Characterization) -> Iterator[Device]:
    """The MZIs with the largest parts of the expected error, and their shares."""
    parts = [found.map_of(block) ** 2 for block in found.blocks]
    if not parts:
        return
    everything = np.concatenate(parts)
    total = float(everything.sum())
    owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    first = np.cumsum([0, *(len(part) for part in parts)])
    for index in np.argsort(-everything, kind="stable")[:WORST].tolist():
        if everything[index] <= 0:
            return
        block = found.blocks[owner[index]]
        k = index - int(first[owner[index]])
        yield Device(
            block.layer,
            block.tile,
            block.block,
            int(block.column[k]),
            int(block.port[k]),
            float(block.theta_rad[k]),
            float(np.sqrt(everything[index])),
            float(everything[index] / total),
        )


def by_angle(found: Characterization, bins: int = 8) -> list[tuple[float, float, int]]:
    """Mean expected squared error of an MZI by |theta|: upper end of the bin in rad, mean over
    its MZIs, how many. All meshes together, attenuators not."""
    blocks = [block for block in found.blocks if block.block != "s" and len(block.theta_rad)]
    if not blocks:
        return []
    angle = np.abs(np.concatenate([block.theta_rad for block in blocks]))
    error = np.concatenate([found.map_of(block) ** 2 for block in blocks])
    edges = np.linspace(0, np.pi, bins + 1)
    place = np.clip(np.digitize(angle, edges) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    total = np.bincount(place, error, minlength=bins)
    return [
        (float(edges[k + 1]), float(total[k] / count[k]) if count[k] else 0.0, int(count[k]))
        for k in range(bins)
    ]


def profile(found: Characterization, block: BlockSensitivity, along: str) -> Real:
    """Expected squared error of a block summed by "column" or by "port" (of the upper guide)."""
    place = block.column if along == "column" else block.port
    return np.asarray(np.bincount(place, found.map_of(block) ** 2), np.float64)
