"""What electronics behind the detectors adjusts once a chip is made."""

from enum import StrEnum

import numpy as np

from onnx2mzi.physics.arrays import Complex, Matrix, Real


class Calibration(StrEnum):
    """What is adjusted behind the detectors of every tile once a chip is made."""

    NONE = "none"
    GAIN = "gain"
    """One real gain a tile: loss that is alike everywhere does no harm."""

    READOUT = "readout"
    """A gain and an angle for each output of a tile: receivers have one each."""


def calibrated(
    light: Complex, ideal: Matrix, calibration: Calibration, *, real: bool = False
) -> Complex:
    """The matrices (C, m, n) after what electronics can adjust without touching the chip."""
    if calibration is Calibration.NONE:
        return light
    return np.asarray(light * factors(light, ideal, calibration, real=real))


def factors(
    light: Complex, ideal: Matrix, calibration: Calibration, *, real: bool
) -> Complex | Real:
    """What electronics multiplies light (C, m, n) by: (C, 1, 1), or (C, m, 1) with `READOUT`.

    Least squares against the ideal matrix (m, n), of a `real` tile of what is detected, the
    in-phase part.
    """
    if calibration is Calibration.NONE:
        return np.ones((len(light), 1, 1))
    if calibration is Calibration.GAIN:
        return _gains(light, ideal, real=real)
    if real:
        return _readouts(light, np.asarray(ideal.real))
    overlap = (light.conj() * ideal).sum(axis=2, keepdims=True)
    power = (np.abs(light) ** 2).sum(axis=2, keepdims=True)
    return np.asarray(np.where(power > 0, overlap / np.where(power > 0, power, 1.0), 1.0))


def _gains(light: Complex, ideal: Matrix, *, real: bool) -> Real:
    """The real factor (C, 1, 1) of every copy with which it is closest to `ideal`.

    One copy after the other: sums over all at once depend on how many there are.
    """

    def numbers(matrix: Matrix) -> Real:
        flat = (matrix.real if real else np.asarray(matrix, np.complex128)).ravel()
        return np.asarray(flat.view(np.float64))

    wanted, found = numbers(ideal), np.ones((len(light), 1, 1))
    for c, matrix in enumerate(light):
        seen = numbers(matrix)
        power = float((seen * seen).sum())
        if power > 0:
            found[c] = float((seen * wanted).sum()) / power
    return found


def _readouts(light: Complex, ideal: Real) -> Complex:
    """The complex factor of every output with which its real part is closest to `ideal`."""
    overlap = (light.conj() * ideal).sum(axis=2, keepdims=True)
    # Turned to where most of it is in phase, so that little is left in quadrature.
    turn = np.exp(1j * np.angle(overlap))
    i, q = (light * turn).real, -(light * turn).imag
    ii, qq, iq = ((a * b).sum(axis=2, keepdims=True) for a, b in ((i, i), (q, q), (i, q)))
    iw, qw = ((a * ideal).sum(axis=2, keepdims=True) for a in (i, q))
    # Light of one phase alone makes this singular; the other quadrature then stays off.
    qq = qq + 1e-12 * ii + np.finfo(float).tiny
    det = ii * qq - iq * iq
    dark = det <= 0.0
    found = (qq * iw - iq * qw + 1j * (ii * qw - iq * iw)) / np.where(dark, 1.0, det)
    return np.asarray(turn * np.where(dark, 1.0, found))
