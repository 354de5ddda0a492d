"""S-parameters of the netlist's components, as pure functions: no simulator is needed to import.

    from onnx2mzi.backends.netlist_models import MODELS
    simulate, _ = sax.circuit(sax.load_netlist("netlist.yml"), models=MODELS)

Ports: `i0`, `i1` are the upper and lower inputs, `o0`, `o1` the outputs. Every component is
reciprocal and has no reflections. Phases are what the arms really make, in rad, at the design
wavelength. Drawings and conventions: onnx2mzi.physics.mzi.
"""

from collections.abc import Callable

import numpy as np

Scatter = dict[tuple[str, str], complex]


def mzi(
    *,
    phi_upper_rad: float = 0.0,
    phi_lower_rad: float = 0.0,
    theta_upper_rad: float = 0.0,
    theta_lower_rad: float = 0.0,
) -> Scatter:
    """B diag(theta) B diag(phi), B = [[1, i], [i, 1]] / sqrt(2), phases on both arms."""
    upper, lower = np.exp(1j * theta_upper_rad), np.exp(1j * theta_lower_rad)
    phi_upper, phi_lower = np.exp(1j * phi_upper_rad), np.exp(1j * phi_lower_rad)
    bar, cross = (upper - lower) / 2, 1j * (upper + lower) / 2
    return _both_ways(
        {
            ("i0", "o0"): bar * phi_upper,
            ("i0", "o1"): cross * phi_upper,
            ("i1", "o0"): cross * phi_lower,
            ("i1", "o1"): -bar * phi_lower,
        }
    )


def crossing(*, phi_upper_rad: float = 0.0, phi_lower_rad: float = 0.0) -> Scatter:
    """An MZI without heaters: guides that cross, a quarter wave longer than one that passes."""
    return _both_ways(
        {
            ("i0", "o1"): 1j * np.exp(1j * phi_upper_rad),
            ("i1", "o0"): 1j * np.exp(1j * phi_lower_rad),
        }
    )


def attenuator(*, theta_upper_rad: float = 0.0, theta_lower_rad: float = 0.0) -> Scatter:
    """An MZI from its lower input `i0` to its upper output `o0`; the rest is dumped."""
    upper, lower = np.exp(1j * theta_upper_rad), np.exp(1j * theta_lower_rad)
    return _both_ways({("i0", "o0"): 1j * (upper + lower) / 2})


def guide(*, phase_rad: float = 0.0) -> Scatter:
    """A guide, or a shifter on a single guide."""
    return _both_ways({("i0", "o0"): np.exp(1j * phase_rad)})


def edge(*, loss_db: float = 0.0) -> Scatter:
    """A coupler at the die's edge."""
    return _both_ways({("i0", "o0"): complex(10 ** (-loss_db / 20))})


def _both_ways(forward: Scatter) -> Scatter:
    return forward | {(b, a): value for (a, b), value in forward.items()}


MODELS: dict[str, Callable[..., Scatter]] = {
    "mzi": mzi,
    "crossing": crossing,
    "attenuator": attenuator,
    "guide": guide,
    "edge": edge,
}
