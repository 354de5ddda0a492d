"""layers.csv: a row a layer, the keys of report.json."""

import csv
import io
from collections.abc import Sequence
from typing import Any


def layers_csv(layers: Sequence[dict[str, Any]]) -> str:
    """The table as text; unknown is an empty field, floats read back exactly."""
    if not layers:
        return ""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(layers[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(layers)
    return file.getvalue()
