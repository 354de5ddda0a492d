"""A characterization as JSON types and as tables."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from onnx2mzi.emulate.characterize import Characterization, by_angle
from onnx2mzi.emulate.montecarlo import Samples
from onnx2mzi.emulate.setting import setting_of
from onnx2mzi.physics.imperfection import SIZES

FORMAT = 1
Row = dict[str, Any]

_POINT = ("kind", "factor", "size", "layer", "block", "setting", "copies", "mean", "std",
          "half_width", "yield", "yield_low", "yield_high", "error_mean")  # fmt: skip


def numbers(found: Characterization, about: Row) -> Row:
    """The content of characterization.json; `about` comes first. None is unknown."""
    return {
        "format": FORMAT,
        **about,
        "measure": found.measure,
        "samples": found.samples,
        "drop": found.drop,
        "ideal": found.ideal_value,
        "sizes": {name: getattr(found.sizes, name) for name in SIZES},
        "points": points(found),
        "regions": regions(found),
        "places": [asdict(place) for place in found.places],
        "first_order": [{**asdict(check), "weight": check.weight} for check in found.checks],
        "by_angle": [
            {"theta_rad_to": upper, "error_squared": error, "mzis": count}
            for upper, error, count in by_angle(found)
        ],
        "worst": [asdict(device) for device in found.worst],
    }


def points(found: Characterization) -> list[Row]:
    """One row for every point of every scan."""
    return [
        {"kind": point.kind, "factor": point.factor, "size": point.size}
        | _figures(found, point.samples)
        for point in found.points
    ]


def regions(found: Characterization) -> list[Row]:
    """One row for every layer and block that was imperfect alone."""
    return [
        {"layer": region.layer, "block": region.block} | _figures(found, samples)
        for region, samples in found.regions
    ]


def _figures(found: Characterization, samples: Samples) -> Row:
    low, high = (None, None)
    if found.measure != "relative error":
        low, high = samples.yield_interval(found.ideal_value - found.drop)
    half = samples.half_width
    return {
        "setting": str(setting_of(samples.how)),
        "copies": len(samples),
        "mean": samples.mean,
        "std": samples.std,
        "half_width": half if np.isfinite(half) else None,
        "yield": found.good_share(samples),
        "yield_low": low,
        "yield_high": high,
        "error_mean": float(samples.errors.mean()),
    }


def points_csv(found: Characterization) -> str:
    """Scans and regions in one table."""
    return _csv(_POINT, [*points(found), *regions(found)])


def devices_csv(found: Characterization) -> str:
    """Every MZI: sensitivities (squared relative error of the layer's output per rad^2 or dB^2)
    and the expected relative error of the network that comes of it alone."""
    heads = ("layer", "tile", "block", "column", "port", "theta_rad", "per_theta", "per_phi",
             "per_first_coupler", "per_second_coupler", "per_loss_db", "error")  # fmt: skip
    rows = []
    for block in found.blocks:
        error = found.map_of(block)
        columns = (block.column, block.port, block.theta_rad, block.theta, block.phi,
                   block.first, block.second, block.loss, error)  # fmt: skip
        for values in zip(*(column.tolist() for column in columns), strict=True):
            names = (block.layer, block.tile, block.block)
            rows.append(dict(zip(heads, (*names, *values), strict=True)))
    return _csv(heads, rows)


def _csv(heads: Sequence[str], rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, heads, restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if value is None else value for name, value in row.items()})
    return text.getvalue()
