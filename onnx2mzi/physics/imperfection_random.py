"""Random numbers that belong to a device: the same whatever else is drawn, and by whom.

A number is a hash of (seed, copy, block, device, stream). So copies may be shared out to any
number of workers, two chips of which one lost some MZIs have the same errors where both have
MZIs, and a scan over sizes sees the same chips (common random numbers). The hash is splitmix64
(Steele, Lea and Flood, OOPSLA 2014), the normals are Box and Muller's.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from onnx2mzi.physics.arrays import Real

Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
STREAMS = 16
VERSION = 2
"""Of the numbers: the same seed gives others after a change."""


def _mixed(z: Keys) -> Keys:
    """splitmix64's finaliser; `z` is a fresh array and may be overwritten."""
    z ^= z >> np.uint64(30)
    z *= _FIRST
    z ^= z >> np.uint64(27)
    z *= _SECOND
    z ^= z >> np.uint64(31)
    return z


def block_keys(*, seed: int, copies: Sequence[int], block: str) -> Keys:
    """One key a copy, shape (C,), for a block of devices that has a name of its own."""
    digest = hashlib.blake2b(f"{seed}/{block}".encode(), digest_size=8).digest()
    base = np.array([int.from_bytes(digest, "little")], np.uint64)
    numbers = np.asarray(copies, np.uint64) + np.uint64(1)
    return _mixed(base + _mixed(numbers * _GOLDEN))


def uniform(*, keys: Keys, device: npt.ArrayLike, stream: int, which: int = 0) -> Real:
    """A uniform number in (0, 1) for each copy and device, shape (C, K); `which` of two (0, 1)."""
    if which not in (0, 1):
        raise ValueError(f"there is no number {which} of two")
    number = (_hash(keys, device, stream, which) >> np.uint64(12)).astype(np.float64)
    number += 0.5
    number *= 2.0**-52
    return number


def normals(*, keys: Keys, device: npt.ArrayLike, stream: int) -> tuple[Real, Real]:
    """Two independent standard normal numbers for each copy and device, shape (C, K) each.

    32 bits make the radius, 32 the angle: no number is beyond 6.8 sigma.
    """
    radius, angle = _polar(keys, device, stream)
    return radius * np.cos(angle), radius * np.sin(angle)


def normal(*, keys: Keys, device: npt.ArrayLike, stream: int, which: int = 0) -> Real:
    """One of the two numbers of `normals`, shape (C, K)."""
    radius, angle = _polar(keys, device, stream)
    return np.asarray(radius * (np.cos(angle) if which == 0 else np.sin(angle)))


def normal_row(*, key: int, first: int, count: int) -> Real:
    """Standard normal numbers, shape (count,): both of every device from `first` on, stream 0."""
    devices = first + np.arange((count + 1) // 2)
    pairs = normals(keys=np.array([key], np.uint64), device=devices, stream=0)
    return np.stack([pairs[0][0], pairs[1][0]], 1).reshape(-1)[:count]


def _hash(keys: Keys, device: npt.ArrayLike, stream: int, which: int) -> Keys:
    if not 0 <= stream < STREAMS:
        raise ValueError(f"there is no stream {stream}")
    counter = np.asarray(device, np.uint64) * np.uint64(2 * STREAMS)
    counter += np.uint64(2 * stream + which + 1)
    return _mixed(keys[:, None] + counter * _GOLDEN)


def _polar(keys: Keys, device: npt.ArrayLike, stream: int) -> tuple[Real, Real]:
    z = _hash(keys, device, stream, 0)
    radius = (z >> np.uint64(32)).astype(np.float64)
    radius += 0.5
    radius *= 2.0**-32
    np.log(radius, out=radius)
    radius *= -2.0
    np.sqrt(radius, out=radius)
    angle = (z & np.uint64(0xFFFFFFFF)).astype(np.float64)
    angle += 0.5
    angle *= 2.0**-31 * np.pi
    return radius, angle
