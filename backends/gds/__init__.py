"""The layout: `design.gds` with markers, pins and labels, `mask.gds` with foundry layers alone."""

from onnx2mzi.backends.gds.backend import Gds
from onnx2mzi.backends.gds.files import write_gds

__all__ = ["Gds", "write_gds"]
