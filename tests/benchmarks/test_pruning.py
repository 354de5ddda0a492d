"""The protocol of the pruning benchmark on small digits: it runs, and pruning keeps its promise."""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

HERE = Path(__file__).resolve().parent


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.mark.whole
def test_digits_lose_little_at_nine_tenths(tmp_path: Path) -> None:
    bench, tables = module("bench_pruning"), module("pruning_tables")
    given = argparse.Namespace(
        data=bench.MNIST,
        keep=str(tmp_path),
        chosen=False,
        epochs=20.0,
        dense_epochs=20.0,
        lr=0.01,
        dense_lr=0.0,
        starts=1,
        distil=0.5,
        start="auto",
        ports=0,
        port_factors=False,
        share="none",
        rail=False,
        levels=[90.0, 96.0],
    )
    rows = bench.walk("digits", 0, "exact", given) + bench.walk("digits", 0, "surgeon", given)
    exact, *pruned = rows
    assert exact["active"] < 0.5 * exact["reference"]
    for row, most in zip(pruned, (3.0, 8.0), strict=True):
        assert row["active"] <= (1 - row["level"] / 100) * row["reference"]
        assert row["push-pull"] == row["active"] <= row["none"]
        assert 100 * (row["dense"] - row["accuracy"]) < most
    text = tables.tables(rows)
    assert "digits" in text and "| surgeon |" in text
