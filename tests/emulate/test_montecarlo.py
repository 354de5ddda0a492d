"""Drawing many copies: the same numbers however they are drawn, resumed, or cut short."""

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onnx2mzi.driver.api import compile as compile_onnx
from onnx2mzi.emulate.imperfect import How, Region, imperfect_program
from onnx2mzi.emulate.journal import Journal, kind_of
from onnx2mzi.emulate.montecarlo import Bench, Effort, Samples, Score, half_width, sampled
from onnx2mzi.errors import InputError
from onnx2mzi.physics.imperfection import Imperfections

HOW = How(Imperfections(phase_rad=0.1, split_rad=0.05), seed=4)


@pytest.fixture(scope="module")
def bench(tiny_onnx: bytes) -> Bench:
    chip = compile_onnx(tiny_onnx)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)).astype(np.float32)
    labels = rng.integers(0, 3, 40)
    prepared = imperfect_program(chip.program, chip.emission.technology)
    assert chip.program.host is not None
    return Bench(prepared, chip.program.host, {"x": x}, labels)


def test_the_ideal_chip_is_ideal(bench: Bench) -> None:
    ideal = bench.ideal_score
    assert ideal.error == 0 and ideal.changed == 0 and ideal.accuracy is not None
    found = sampled(bench, How(Imperfections()), Effort(copies=2))
    assert [score.error for score in found.scores] == [0, 0]


def test_workers_do_not_matter(bench: Bench) -> None:
    one = sampled(bench, HOW, Effort(copies=40))
    assert len(one) == 40 and one.std > 0
    assert sampled(bench, HOW, Effort(copies=40, workers=3)) == one
    with ThreadPoolExecutor(2) as pool:
        assert sampled(bench, HOW, Effort(copies=40), executor=pool) == one
    fewer = sampled(bench, HOW, Effort(copies=7))
    assert fewer.scores == one.scores[:7]


def test_a_bench_travels(bench: Bench) -> None:
    there = pickle.loads(pickle.dumps(bench))
    assert sampled(there, HOW, Effort(copies=3)) == sampled(bench, HOW, Effort(copies=3))


@pytest.mark.parametrize("workers", [1, 2])
def test_it_stops_at_the_half_width(bench: Bench, workers: int) -> None:
    long = sampled(bench, HOW, Effort(copies=200))
    wanted = 2 * long.half_width
    short = sampled(bench, HOW, Effort(copies=200, half_width=wanted, workers=workers))
    assert len(short) < len(long) and short.scores == long.scores[: len(short)]
    assert short.half_width <= wanted < half_width(short.values[:-1], 0.95)


def test_a_journal_resumes(bench: Bench, tmp_path: Path) -> None:
    path, effort = tmp_path / "copies.jsonl", Effort(copies=20)
    whole = sampled(bench, HOW, effort)
    with Journal(path, "a") as journal:
        sampled(bench, HOW, Effort(copies=9), journal=journal)
    with path.open("a") as file:
        file.write('["cut off')
    with Journal(path, "a") as journal:
        assert len(journal.known(HOW)) == 9 and not journal.known(replace(HOW, seed=5))
        assert sampled(bench, HOW, effort, journal=journal) == whole
    lines = path.read_text().splitlines()
    assert len(lines) == 21 and all(json.loads(line) for line in lines)
    with Journal(path, "a") as journal:
        again = sampled(bench, HOW, Effort(copies=200, half_width=1.0), journal=journal)
        assert again.scores == whole.scores[:8]
    with Journal(path, "another chip") as journal:
        assert not journal.known(HOW)


def test_kinds_tell_chips_apart() -> None:
    kinds = [
        HOW,
        replace(HOW, seed=5),
        replace(HOW, region=Region(layer="a")),
        replace(HOW, region=Region(block="a")),
        replace(HOW, trim=False),
        replace(HOW, sizes=HOW.sizes.times(2)),
    ]
    assert len({kind_of(how) for how in kinds}) == len(kinds)


def made(values: list[float]) -> Samples:
    return Samples(HOW, tuple(Score(value, None, 0.0) for value in values))


def test_figures_of_samples() -> None:
    found = made([0.9, 0.8, 0.7, 0.6])
    assert found.mean == pytest.approx(0.75)
    assert found.std == pytest.approx(np.std([0.9, 0.8, 0.7, 0.6], ddof=1))
    assert found.half_width == pytest.approx(3.182446 * found.std / 2, rel=1e-6)
    assert found.share_at_least(0.8) == 0.5
    low, high = found.yield_interval(0.8)
    assert (low, high) == pytest.approx((0.1500, 0.8500), abs=1e-4)
    assert made([0.5]).half_width == np.inf


def test_the_interval_covers(bench: Bench) -> None:
    """95 % intervals of normal numbers hold the mean in 95 % of cases."""
    rng = np.random.default_rng(1)
    inside = [
        abs(values.mean()) <= half_width(values, 0.95) for values in rng.normal(size=(4000, 6))
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("wrong", [{"copies": 0}, {"workers": 0}, {"confidence": 1.0}])
def test_nonsense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        replace(Effort(), **wrong)  # type: ignore[arg-type]
