"""Numbers of foundries: `Technology`, its files, and the geometry that follows from it."""

from onnx2mzi.tech.fixed import Layer
from onnx2mzi.tech.loader import (
    DEFAULT_TECHNOLOGY,
    dump_technology,
    load_technology,
    parse_technology,
    technology_names,
)
from onnx2mzi.tech.technology import (
    CouplerKind,
    CrossKind,
    Detection,
    PadStyle,
    Technology,
)

__all__ = [
    "DEFAULT_TECHNOLOGY",
    "CouplerKind",
    "CrossKind",
    "Detection",
    "Layer",
    "PadStyle",
    "Technology",
    "dump_technology",
    "load_technology",
    "parse_technology",
    "technology_names",
]
