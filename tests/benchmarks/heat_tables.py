"""Results of `bench_heat` as tables of Markdown."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import mean
from typing import Any

Row = dict[str, Any]
STACKS = ("bulk", "undercut", "trench + undercut")
HEAD = """# Heat: what was measured

Made by `bench_heat.py` (see there for the protocol); the rows are in `heat.json`. All on heaters
of 100 um, rows 50 um apart, dies with edges; test data that no step saw. Means over seeds, in per
cent. `K off` is the compensated chip whose thermal model is wrong by so much, at random and
altogether (mean of the draws; half of them up, half down). Passive phases, where a net has some,
are drawn for the warm chip. CPU seconds are those of a machine on which up to twenty other
processes ran. `cancel` is the chip as drawn, uncompensated, behind `cancel{heat=0.2 rounds=4
beam=200 moves=4000}`. Nets that are 80 % pruned were trained with at most 5 thetas along any light
of a mesh, for chains of them make pruned meshes long. Empty cells were not measured: the grids and
the heat matrices of 64-64-10 are too large for it, and `cancel` is for dense complex nets.

    python tests/benchmarks/bench_heat.py --keep nets
    python tests/benchmarks/bench_heat.py --scale
"""


def tables(rows: Sequence[Row]) -> str:
    """All tables."""
    return (
        "\n\n".join(
            [
                HEAD.strip(),
                "### Accuracy\n\n" + _accuracy(rows),
                "### How well the model of heat must be known\n\n" + _known(rows),
                "### Drivers and ambient\n\n" + _drivers(rows),
                "### Heat, area, time\n\n" + _cost(rows),
            ]
        )
        + "\n"
    )


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = [" | ".join(line) for line in (head, ["---"] * len(head), *lines)]
    return "\n".join(f"| {line} |" for line in text)


def _groups(rows: Sequence[Row]) -> list[tuple[str, str, list[Row]]]:
    nets = list(dict.fromkeys(row["net"] for row in rows))
    found = []
    for net in nets:
        for stack in STACKS:
            same = [row for row in rows if row["net"] == net and row["stack"] == stack]
            if same:
                found.append((net, stack, same))
    return found


def _mean(rows: Sequence[Row], value: Callable[[Row], Any], form: str = ".2f") -> str:
    """Over the rows that have it."""
    values = [found for found in map(value, rows) if found is not None]
    return format(mean(values), form) if values else ""


def _both(row: Row, error: str, which: int = 0) -> float | None:
    found = row["uncertain"]["both"].get(error)
    return None if found is None else float(found[which])


def _uncertain(row: Row, kind: str, error: str) -> float | None:
    found: float | None = row["uncertain"].get(kind, {}).get(error, [None])[0]
    return found


def _of(row: Row, table: str, key: str) -> float | None:
    found: float | None = row.get(table, {}).get(key)
    return found


def _lost(row: Row, error: str) -> float | None:
    found = _both(row, error)
    return None if found is None else float(row["ideal"]) - found


def _accuracy(rows: Sequence[Row]) -> str:
    head = ["net", "stack", "seeds", "ideal", "upper-arm grid", "naive", "K inverted", "`cancel`"]
    head += ["compensated", "K off 5 %", "10 %", "20 %", "points lost: exact", "10 %", "20 %"]
    lines = []
    for net, stack, same in _groups(rows):
        line = [net, stack, str(len(same))]
        line += [
            _mean(same, lambda r: r["ideal"]),
            _mean(same, lambda r: r.get("grid_naive")),
            _mean(same, lambda r: r["naive"]),
            _mean(same, lambda r: r["inverted"]),
            _mean(same, lambda r: r.get("naive_cancelled")),
            _mean(same, lambda r: r["compensated"]),
            *(_mean(same, partial(_both, error=e)) for e in ("0.05", "0.1", "0.2")),
            _mean(same, lambda r: r["ideal"] - r["compensated"]),
            *(_mean(same, partial(_lost, error=e)) for e in ("0.1", "0.2")),
        ]
        lines.append(line)
    return _table(head, lines)


def _known(rows: Sequence[Row]) -> str:
    head = ["net", "stack"]
    kinds = [(kind, e) for kind in ("random", "systematic") for e in ("0.05", "0.1", "0.2")]
    head += [f"{kind} {float(e):.0%}" for kind, e in kinds]
    head += ["both 20 %, worst draw", "certificate at 10 %, nats"]
    lines = []
    for net, stack, same in _groups(rows):
        line = [net, stack]
        for kind, e in kinds:
            line.append(
                _mean(
                    same,
                    partial(_uncertain, kind=kind, error=e),
                )
            )
        worst = [w for w in (_both(r, "0.2", 1) for r in same) if w is not None]
        line.append(format(min(worst), ".2f") if worst else "")
        line.append(_mean(same, lambda r: r.get("certificate_10"), ".2g"))
        lines.append(line)
    return _table(head, lines)


def _drivers(rows: Sequence[Row]) -> str:
    whole = next(row for row in rows if "bits" in row)
    bits, drifts = (list(whole[key]) for key in ("bits", "drift"))
    head = ["net", "stack", *(f"{b} bit" for b in bits), *drifts]
    lines = []
    for net, stack, same in _groups(rows):
        values = [_mean(same, partial(_of, table="bits", key=b)) for b in bits]
        values += [_mean(same, partial(_of, table="drift", key=d)) for d in drifts]
        lines.append([net, stack, *values])
    return _table(head, lines)


def _cost(rows: Sequence[Row]) -> str:
    head = ["net", "stack", "heaters", "passive phases drawn warm", "heat, P_pi", "mW"]
    head += ["`cancel`: P_pi", "grid: P_pi", "heat / grid", "mm2", "grid: mm2", "area / grid"]
    head += ["CPU s: place", "compensate", "`cancel`"]
    lines = []
    for net, stack, same in _groups(rows):
        lines.append(
            [
                net,
                stack,
                _mean(same, lambda r: r["heaters"], ",.0f"),
                _mean(same, lambda r: r.get("lengths"), ",.0f"),
                _mean(same, lambda r: r.get("p_pi"), ",.0f"),
                _mean(same, lambda r: r.get("mw"), ",.0f"),
                _mean(same, lambda r: r.get("p_pi_cancelled"), ",.0f"),
                _mean(same, lambda r: r.get("grid_p_pi"), ",.0f"),
                _mean(same, lambda r: r["p_pi"] / r["grid_p_pi"] if "grid_p_pi" in r else None),
                _mean(same, lambda r: r["mm2"], ",.1f"),
                _mean(same, lambda r: r.get("grid_mm2"), ",.1f"),
                _mean(same, lambda r: r["mm2"] / r["grid_mm2"] if "grid_mm2" in r else None),
                _mean(same, lambda r: r.get("cpu_place_s"), ",.0f"),
                _mean(same, lambda r: r.get("cpu_compensate_s"), ",.0f"),
                _mean(same, lambda r: r.get("cpu_cancel_s"), ",.0f"),
            ]
        )
    return _table(head, lines)
