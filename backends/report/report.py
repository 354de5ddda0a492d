"""`report`: the numbers as JSON and CSV, and a page that shows them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnx2mzi.backends.report.page import page
from onnx2mzi.backends.report.table import layers_csv
from onnx2mzi.pipeline.backend import Backend, Emission
from onnx2mzi.pipeline.base import option
from onnx2mzi.pipeline.summary import report


@dataclass(frozen=True, slots=True)
class Report(Backend):
    """report.json, layers.csv and report.html: how accurate, hot, big and deep the chip is."""

    name: ClassVar[str] = "report"

    tiles: int = option(3, "tiles drawn for each layer", low=0, high=1000)

    def write(self, emission: Emission, directory: Path) -> tuple[str, ...]:
        numbers = report(emission)
        contents = {
            "report.json": json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False)
            + "\n",
            "layers.csv": layers_csv(numbers["layers"]),
            "report.html": page(emission, numbers, tiles_per_layer=self.tiles),
        }
        for name, content in contents.items():
            # Surrogates can be in a name but not in UTF-8.
            (directory / name).write_bytes(content.encode("utf-8", "replace"))
        return tuple(contents)
