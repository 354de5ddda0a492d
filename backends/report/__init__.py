"""`report`: report.json, layers.csv, and report.html with pictures of every mesh."""

from onnx2mzi.backends.report.report import Report

__all__ = ["Report"]
