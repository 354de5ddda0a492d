"""Thinning all tiles together, block by block."""

import numpy as np
import pytest

from onnx2mzi.passes.prune import whole
from onnx2mzi.passes.prune.bounded import nearest_thinned
from onnx2mzi.passes.prune.moments import energy, moment
from onnx2mzi.passes.prune.split import sheets, sheets_phases
from onnx2mzi.passes.prune.thetas import felt, gradient, slopes
from onnx2mzi.passes.prune.thin import Metric
from onnx2mzi.passes.prune.thinning import metrics, product, real_tile, sheet_matrix
from onnx2mzi.passes.prune.whole import Layers, pays, slope, thinned_together
from onnx2mzi.physics.arrays import Real


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of several blocks."""
    monkeypatch.setattr(whole, "WIDE", 20)
    monkeypatch.setattr(whole, "LARGE", 30)


def weight(m: int, n: int, seed: int) -> Real:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, n)) * np.geomspace(1, 1e-2, n)


def inputs(n: int) -> Real:
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, n)) @ rng.standard_normal((n, 100))


def thinner(
    w: list[Real], c: list[Real], most: float, ports: int = 16, noise_rad: float = 0.0
) -> Layers:
    layers = [sheets(x, rank=min(x.shape), ports=ports) for x in w]
    return thinned_together(
        layers,
        [metrics(x, parts, moments) for x, parts, moments in zip(w, layers, c, strict=True)],
        [1 / float(energy(x, moments).sum()) for x, moments in zip(w, c, strict=True)],
        most=most,
        good=lambda found: True,
        noise_rad=noise_rad,
    )


def lost(w: Real, found: Layers, c: Real, at: int) -> float:
    moved = product(found[at], w.dtype) - w
    return float(energy(moved, c).sum() / energy(w, c).sum())


def test_slope_is_that_of_the_taps() -> None:
    w = weight(6, 9, 0)
    (sheet,) = sheets(w, rank=5, ports=16)
    tile = real_tile(sheet.tiles[0])
    assert tile is not None
    c = moment(inputs(9)).real
    weighted = Metric(w, np.eye(6), c).weighted(tile.matrix)
    left, right = slopes(tile)
    order = np.argsort(sheet.tiles[0].inputs)
    assert np.array_equal(order, sheet.tiles[0].inputs)
    assert np.allclose(slope(tile, weighted), gradient(left, right, weighted))


@pytest.mark.usefixtures("small")
def test_phases_go_to_the_number_asked_where_they_cost_least() -> None:
    w = [weight(10, 14, 0), 1e-3 * weight(8, 10, 1)]
    c = [moment(inputs(14)).real, moment(inputs(10)).real]
    whole_phases = sheets_phases([sheets(x, rank=10, ports=16) for x in w])
    found = thinner(w, c, most=0.7 * whole_phases)
    assert 0.6 * whole_phases < sheets_phases(found) <= 0.7 * whole_phases
    # Errors count in units of each layer's outputs, however small these are.
    assert max(lost(x, found, y, at) for at, (x, y) in enumerate(zip(w, c, strict=True))) < 2e-2
    by_rank = [sheets(x, rank=3, ports=16) for x in w]
    assert sheets_phases(found) > 0.7 * sheets_phases(by_rank)


@pytest.mark.usefixtures("small")
def test_blocks_lose_little_to_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    w, c = [weight(10, 14, 2)], [moment(inputs(14)).real]
    most = 0.6 * sheets_phases([sheets(w[0], rank=10, ports=16)])
    blocks = lost(w[0], thinner(w, c, most), c[0], 0)
    monkeypatch.setattr(whole, "WIDE", 10_000)
    one = lost(w[0], thinner(w, c, most), c[0], 0)
    assert one < 0.02
    assert blocks < 3 * one + 1e-3


@pytest.mark.usefixtures("small")
def test_under_noise_less_of_it_is_left() -> None:
    w, c = [weight(10, 14, 2)], [moment(inputs(14)).real]
    most = 0.7 * sheets_phases([sheets(w[0], rank=10, ports=16)])
    left = []
    for noise_rad in (0.0, 0.5):
        (layer,) = thinner(w, c, most, noise_rad=noise_rad)
        tile = real_tile(layer[0].tiles[0])
        assert tile is not None
        own = c[0][np.ix_(layer[0].tiles[0].inputs, layer[0].tiles[0].inputs)]
        there = felt(*slopes(tile), np.eye(10), own)[: len(tile.theta)]
        left.append(float(there[tile.theta != 0.0].sum()))
    assert left[1] < 0.95 * left[0]


@pytest.mark.usefixtures("small")
def test_ends_with_the_last_good_ones() -> None:
    w = weight(8, 12, 3)
    layers = [sheets(w, rank=8, ports=16)]
    plain = [[(np.eye(8), np.eye(12))]]
    seen: list[int] = []

    def good(found: Layers) -> bool:
        seen.append(sheets_phases(found))
        return len(seen) < 3

    found = thinned_together(layers, plain, [1.0], most=0, good=good)
    assert sheets_phases(found) == seen[1]
    assert len(seen) == 2 + whole.PATIENCE
    assert seen == sorted(seen, reverse=True)


@pytest.mark.usefixtures("small")
def test_without_data_large_tiles_keep_the_bound() -> None:
    w = weight(12, 16, 4)
    found = nearest_thinned(w, limit=0.05, ports=16, progress=lambda done, total: None)
    assert found is not None
    assert np.linalg.norm(sheet_matrix(found, w.dtype) - w) <= 0.05 * np.linalg.norm(w)
    assert sheets_phases([[found]]) < 0.9 * sheets_phases([sheets(w, rank=12, ports=16)])


def test_complex_tiles_stay() -> None:
    w = weight(6, 6, 5) * np.exp(1j * np.arange(6))
    layers = [sheets(w, rank=6, ports=8)]
    found = thinned_together(layers, [[(np.eye(6), np.eye(6))]], [1.0], most=0, good=lambda f: True)
    assert found == [tuple(layers[0])]
    assert not pays(found)
