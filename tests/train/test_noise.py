"""Networks drawn anew at every step: gradients, and what noise is drawn where."""

from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch")

from onnx2mzi.kernels import clements_layout  # noqa: E402
from onnx2mzi.physics.imperfection_cell import CellErrors  # noqa: E402
from onnx2mzi.train.layout import Layout  # noqa: E402
from onnx2mzi.train.network import PhaseNetwork  # noqa: E402
from onnx2mzi.train.noise import Noise, _Cells, _drawn, noisy  # noqa: E402
from onnx2mzi.train.tiles import near_zero  # noqa: E402


def test_gradients_of_imperfect_cells() -> None:
    rng = np.random.default_rng(0)
    layout = Layout(4, *clements_layout(4))
    errors = CellErrors(
        arm_upper=rng.normal(size=6), arm_lower=rng.normal(size=6),
        first=rng.normal(size=6), second=rng.normal(size=6),
    )  # fmt: skip
    theta, phi = (torch.from_numpy(rng.normal(size=6)).requires_grad_() for _ in range(2))

    def columns(a: Any, b: Any) -> Any:
        found: Any = _Cells.apply(a, b, layout, errors, 3)  # type: ignore[no-untyped-call]
        return found

    assert torch.autograd.gradcheck(columns, (theta, phi))


def _network() -> PhaseNetwork:
    layer = near_zero(
        "fc", (3, 5), norm=1.0, real=True, spread_rad=0.7, rng=np.random.default_rng(1)
    )
    return PhaseNetwork([layer], lambda matrices, inputs, constants=None: dict(matrices))


def test_without_noise_or_gradients_it_is_the_ideal_network() -> None:
    network = _network()
    ideal = network.matrices()["fc"].detach()
    made = noisy(network, Noise(0.1, 0.1), seed=0)
    with torch.no_grad():
        torch.testing.assert_close(made.matrices()["fc"], ideal)
    made.noise = Noise()
    torch.testing.assert_close(made.matrices()["fc"].detach(), ideal)
    made.noise = Noise(1e-9, 1e-9)
    torch.testing.assert_close(made.matrices()["fc"].detach(), ideal, atol=1e-7, rtol=0)


def test_every_step_is_another_chip_and_seeds_repeat() -> None:
    made, again = (noisy(_network(), Noise(0.05, 0.05), seed=3) for _ in range(2))
    first, second = (made.matrices()["fc"].detach() for _ in range(2))
    assert float((first - second).abs().max()) > 1e-3
    torch.testing.assert_close(again.matrices()["fc"].detach(), first)


def test_chips_are_drawn_on_where_a_state_was_taken() -> None:
    made = noisy(_network(), Noise(0.05, 0.05), seed=3)
    made.matrices()
    state = made.state()
    second = made.matrices()["fc"].detach()
    made.matrices()
    made.restore(state)
    torch.testing.assert_close(made.matrices()["fc"].detach(), second)


def test_other_meshes_have_the_same_noise() -> None:
    made = noisy(_network(), Noise(0.05, 0.05), seed=3)
    made.matrices()
    other = made.rebuilt(made.starts())
    torch.testing.assert_close(other.matrices()["fc"].detach(), made.matrices()["fc"].detach())


def test_crossings_have_no_couplers_and_no_heaters() -> None:
    theta = np.array([0.0, 0.5, -0.5])
    there = theta != 0.0
    errors = _drawn(theta, there, there, Noise(0.1, 0.1), np.random.default_rng(0))
    upper, lower = np.asarray(errors.arm_upper), np.asarray(errors.arm_lower)
    first = np.asarray(errors.first)
    assert (upper != 0).tolist() == [False, True, False]
    assert (lower != 0).tolist() == [False, False, True]
    assert (first != 0).tolist() == [False, True, True]


def test_bare_guides_have_no_couplers_either() -> None:
    network = _network()
    thetas = network.kinds() == 0
    network.alive[:] = False
    network.rest[thetas] = torch.pi
    ideal = network.matrices()["fc"].detach()
    made = noisy(network, Noise(0.1, 0.1), seed=0)
    torch.testing.assert_close(made.matrices()["fc"].detach(), ideal)
