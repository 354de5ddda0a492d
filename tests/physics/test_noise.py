"""Sizes of noise against the textbook's numbers."""

import numpy as np
import pytest

from onnx2mzi.physics.noise import driver_sigma, output_sigma, shot_sigma, thermal_sigma


def test_a_milliampere_at_a_gigahertz() -> None:
    assert shot_sigma(current_a=1e-3, bandwidth_hz=1e9) == pytest.approx(5.661e-4, rel=1e-3)
    found = thermal_sigma(current_a=1e-3, bandwidth_hz=1e9, ohm=1e3, kelvin=300.0)
    assert found == pytest.approx(1.287e-4, rel=1e-3)


def test_shot_noise_counts_electrons() -> None:
    """In a second of 1 / (2 B) a current of N electrons varies by sqrt(N)."""
    bandwidth, electrons = 1e9, 1e6
    current = 1.602176634e-19 * electrons * 2 * bandwidth
    assert shot_sigma(current_a=current, bandwidth_hz=bandwidth) == pytest.approx(1e-3)


def test_drivers_are_as_good_as_converters() -> None:
    rng = np.random.default_rng(0)
    values, step = rng.uniform(-1, 1, 100_000), 2.0 / 2**6
    error = (np.floor(values / step) + 0.5) * step - values
    assert driver_sigma(bits=6) == pytest.approx(error.std(), rel=0.01)


def test_parts_add_as_variances() -> None:
    y = np.array([-2.0, 0.0, 0.5])
    found = output_sigma(y, full_scale=2.0, output=0.03, shot=0.04)
    assert np.allclose(found[:2], [2.0 * 0.05, 2.0 * 0.03])
    assert np.allclose(output_sigma(y, full_scale=2.0, output=0.0, shot=0.0), 0.0)
