"""Which rows a table of layers has."""

from typing import Any

from onnx2mzi.cli.layers import MOST_ROWS, gathered, used_often
from onnx2mzi.cli.render import model


def row(name: str, node: str, rows: int = 2, **more: Any) -> dict[str, Any]:
    numbers = {"tiles": 1, "mzis_reference": 3, "mzis": 2, "phases_reference": 6}
    return {"name": name, "node": node, "rows": rows, "columns": 9, "op": "Conv", **numbers, **more}


def groups(count: int) -> list[dict[str, Any]]:
    return [
        row(f"dw__{k:02}", "dw", uses=49, phases_active=k, power_mw=0.5, max_rel_error=k * 1e-9)
        for k in range(count)
    ]


def test_many_groups_of_a_node_are_one_row() -> None:
    before, *merged = gathered([row("a", "a"), *groups(20), row("b", "b")])
    assert before["name"] == "a"
    assert [found["name"] for found in merged] == ["20 of dw", "b"]
    assert (merged[0]["tiles"], merged[0]["mzis"], merged[0]["phases_active"]) == (20, 40, 190)
    assert merged[0]["power_mw"] == 10.0
    assert merged[0]["max_rel_error"] == 19e-9
    assert merged[0]["uses"] == 49


def test_what_is_unknown_of_one_group_is_unknown_of_all() -> None:
    rows = groups(20)
    rows[3]["power_mw"] = None
    (merged,) = gathered(rows)
    assert merged["power_mw"] is None


def test_few_groups_and_matrices_of_other_shapes_have_rows_of_their_own() -> None:
    assert gathered(groups(MOST_ROWS)) == groups(MOST_ROWS)
    unlike = [row(f"n__{k}", "n", rows=k + 1) for k in range(20)]
    assert gathered(unlike) == unlike


def test_uses_are_told_where_they_are_not_one() -> None:
    assert not used_often([row("a", "a", uses=1)])
    assert used_often([row("a", "a", uses=1), row("b", "b", uses=4)])
    assert used_often([row("a", "a", uses=None)])
    described = {
        "model": "m",
        "stage": "linear",
        "ports": 64,
        "inputs": [],
        "outputs": [],
        "history": [],
        "mzis": None,
        "mzis_reference": 6,
        "phases_reference": 12,
        "layers": [row("a", "a", uses=676), row("b", "b", uses=1)],
        "electronic": [],
    }
    lines = [line.split() for line in model(described).splitlines()]
    assert lines[1] == ["layer", "op", "matrix", "uses", "tiles", "MZIs", "phases"]
    assert lines[2] == ["a", "Conv", "2", "x", "9", "676", "1", "3", "6"]
