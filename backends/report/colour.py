"""A cyclic colour map for phases: hues of equal lightness and chroma in OKLCH.

Ottosson, "A perceptual color space for image processing" (2020), gives the matrices.
"""

import math

BINS = 32
LIGHTNESS, CHROMA = 0.70, 0.125
# Phase 0 is blue, +-pi is amber: the two settings that matter most lie opposite.
HUE_AT_ZERO = math.radians(258.0)


def phase_bin(phase_rad: float) -> int:
    """Which of BINS colours a phase has; -pi and pi have the same."""
    return round((phase_rad / (2 * math.pi) + 0.5) * BINS) % BINS


def bin_phase_rad(index: int) -> float:
    """The phase in the middle of a bin."""
    return (index / BINS - 0.5) * 2 * math.pi


def phase_colour(phase_rad: float) -> str:
    """`#rrggbb` of a phase."""
    return oklch(LIGHTNESS, CHROMA, HUE_AT_ZERO + phase_rad)


def oklch(lightness: float, chroma: float, hue_rad: float) -> str:
    """`#rrggbb` of a colour in OKLCH, clipped to sRGB."""
    a, b = chroma * math.cos(hue_rad), chroma * math.sin(hue_rad)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    small = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * small,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * small,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * small,
    )
    return "#" + "".join(f"{round(255 * _gamma(channel)):02x}" for channel in linear)


def _gamma(linear: float) -> float:
    x = min(max(linear, 0.0), 1.0)
    return 12.92 * x if x <= 0.0031308 else 1.055 * x ** (1 / 2.4) - 0.055
