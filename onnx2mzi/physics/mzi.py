"""Transfer matrices of couplers, phase shifters, Mach-Zehnder interferometers and attenuators.

Ports and order of one MZI; light travels to the right, the upper port is index 0::

    0 --[phi]--+     +--[theta]--+     +-- 0
               |  B  |           |  B  |
    1 ---------+     +-----------+     +-- 1

theta = 0 is cross, theta = pi is bar.
"""

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Complex, Real

HALF_SPLIT_RAD = np.pi / 4


def coupler(*, angle_rad: float = HALF_SPLIT_RAD) -> Complex:
    """Lossless 2x2 coupler [[cos a, i sin a], [i sin a, cos a]]; a = pi/4 splits 50:50.

    Shape (2, 2). Yariv and Yeh, Photonics, 6th ed., eq. 4.1-11 (synchronous coupling).
    """
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, 1j * s], [1j * s, c]])


def phase_shift(*, phase_rad: float) -> Complex:
    """P(x) = diag(e^{ix}, 1): a shifter on the upper arm. Shape (2, 2)."""
    return np.diag([np.exp(1j * phase_rad), 1.0])


def mzi(*, theta_rad: npt.ArrayLike, phi_rad: npt.ArrayLike) -> Complex:
    """T(theta, phi) = B P(theta) B P(phi), heaters on the upper arms.

    T = i e^{i theta/2} [[e^{i phi} sin(theta/2), cos(theta/2)],
                         [e^{i phi} cos(theta/2), -sin(theta/2)]]

    Shapes: theta_rad and phi_rad broadcast to (...); the result is (..., 2, 2).
    Source: Clements et al., Optica 3, 1460 (2016), eq. 1, for the coupler above.
    """
    theta, phi = np.broadcast_arrays(np.asarray(theta_rad, float), np.asarray(phi_rad, float))
    return 1j * np.exp(0.5j * theta)[..., None, None] * balanced_mzi(theta_rad=theta, phi_rad=phi)


def balanced_mzi(*, theta_rad: npt.ArrayLike, phi_rad: npt.ArrayLike) -> Complex:
    """M(theta, phi) = T(theta, phi) / (i e^{i theta/2}): the MZI without its common phase.

    M is a real reflection for phi = 0. Every kernel works in this gauge.
    Shapes as in `mzi`.
    """
    theta, phi = np.broadcast_arrays(np.asarray(theta_rad, float), np.asarray(phi_rad, float))
    s, c, p = np.sin(theta / 2), np.cos(theta / 2), np.exp(1j * phi)
    return np.stack([np.stack([p * s, c + 0j], -1), np.stack([p * c, -s + 0j], -1)], -2)


def attenuation(*, theta_rad: npt.ArrayLike) -> Real:
    """Amplitude cos(theta/2) of an attenuator: an MZI from its lower input to its upper output.

    The lossless setting is theta = 0, which costs no power::

        (dark) 0 --+     +--[theta]--+     +-- 0  to U
                   |  B  |           |  B  |
        from V 1 --+     +-----------+     +-- 1  (dumped)

    The common phase i e^{i theta/2} of the arm is not part of the result.
    """
    return np.asarray(np.cos(np.asarray(theta_rad, float) / 2))


def attenuator_theta_rad(*, amplitude: npt.ArrayLike) -> Real:
    """The theta in [0, pi] whose `attenuation` is `amplitude` in [0, 1].

    Raises ValueError outside [0, 1].
    """
    a = np.asarray(amplitude, float)
    if np.any((a < 0) | (a > 1)):
        raise ValueError("an attenuator transmits an amplitude between 0 and 1")
    return np.asarray(2 * np.arccos(a))
