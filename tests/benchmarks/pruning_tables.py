"""Results of `bench_pruning` as tables of Markdown."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

Row = Mapping[str, Any]
# Phases of U and V of the lottery-ticket paper's network (arXiv 2112.07485): all it counts.
LOTTERY_NET, LOTTERY_PHASES = "c16", 1290


def tables(rows: Sequence[Row]) -> str:
    """All tables: baselines, methods at every level, methods without training."""
    rows = [row for row in rows if row["read"] == "test"]
    parts = [baselines([row for row in rows if row["method"] == "exact"])]
    trained = [row for row in rows if "level" in row]
    for name, data in sorted({(row["net"], row["data"]) for row in trained}):
        here = [row for row in trained if (row["net"], row["data"]) == (name, data)]
        parts.append(levels(f"{name}, {data}", here))
    parts.append(details(trained))
    parts.append(untrained([row for row in rows if row["method"].startswith("post:")]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    text = [" | ".join(line) for line in (head, ["---"] * len(head), *lines)]
    return "\n".join(f"| {line} |" for line in text)


def _groups(rows: Sequence[Row], *keys: str) -> dict[tuple[Any, ...], list[Row]]:
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in sorted(rows, key=lambda row: tuple(str(row[key]) for key in keys)):
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def _spread(values: Sequence[float], digits: int = 2) -> str:
    middle = f"{mean(values):.{digits}f}"
    if len(values) < 2:
        return f"{middle} (1 seed)"
    return f"{middle} ± {(max(values) - min(values)) / 2:.{digits}f}"


def lost(rows: Sequence[Row]) -> list[float]:
    """Points of accuracy lost against the dense network of the same seed."""
    return [100 * (row["dense"] - row["accuracy"]) for row in rows]


def baselines(rows: Sequence[Row]) -> str:
    """The dense networks, the textbook chip and the exact one."""
    if not rows:
        return ""
    lines = []
    for (name, data), same in _groups(rows, "net", "data").items():
        whole = same[0]["reference"]
        power = [1 - row["active_rad"] / row["reference_rad"] for row in same]
        lines.append(
            [
                f"{name}, {data}",
                _spread([100 * row["dense"] for row in same]),
                f"{whole:,}",
                *(f"{mean(1 - row[key] / whole for row in same):.1%}" for key in _COUNTS),
                f"{mean(row['reference_rad'] for row in same) / 3.14159265:,.0f}",
                f"{mean(row['active_rad'] for row in same) / 3.14159265:,.0f}",
                f"-{mean(power):.1%}",
            ]
        )
    head = (
        "network",
        "dense, % right",
        "reference phases",
        "exact: no heater",
        "passive none",
        "push-pull, passive none",
        "reference, P_pi (modulo 2 pi)",
        "exact, P_pi (wrapped)",
        "power",
    )
    return "### Baselines\n\n" + _table(head, lines)


# Per cent that rounding may leave above a level.
SHORT = 0.2
_COUNTS = ("active", "none", "push-pull")


def levels(title: str, rows: Sequence[Row]) -> str:
    """Points lost by method (lines) and share pruned (columns)."""
    shares = sorted({row["level"] for row in rows})
    lines = []
    for (method,), same in _groups(rows, "method").items():
        at = {share: [row for row in same if row["level"] == share] for share in shares}
        lines.append([method] + [_at(s, at[s]) for s in shares])
    head = ["points lost at", *(f"{share:g} %" for share in shares)]
    return f"### {title}\n\n" + _table(head, lines)


def _at(level: float, rows: Sequence[Row]) -> str:
    """Points lost; what is gone too where a method stopped above the level."""
    if not rows:
        return ""
    left = "drivers" if "rail" in rows[0]["method"] else "active"
    gone = 100 * mean(1 - row[left] / row["reference"] for row in rows)
    short = f", {gone:.1f} % gone" if gone < level - SHORT else ""
    return _spread(lost(rows)) + short


def details(rows: Sequence[Row]) -> str:
    """What is on the chip at each level, in all counts."""
    lines = []
    for (name, data, method, level), same in _groups(
        rows, "net", "data", "method", "level"
    ).items():
        whole = same[0]["reference"]
        uv = mean(row["uv"] for row in same)
        power = drivers = ""
        if all("drivers" in row for row in same):
            drivers = f"{mean(row['drivers'] for row in same):,.0f}"
        if all("reference_rad" in row for row in same):
            power = f"-{mean(1 - row['active_rad'] / row['reference_rad'] for row in same):.2%}"
        lines.append(
            [
                f"{name}, {data}",
                method,
                f"{level:g} %",
                f"{mean(row['active'] for row in same):,.0f}",
                drivers,
                *(f"{mean(1 - row[key] / whole for row in same):.2%}" for key in _COUNTS),
                f"{1 - uv / LOTTERY_PHASES:.2%}" if name == LOTTERY_NET else "",
                power,
                f"{100 * mean(row['accuracy'] for row in same):.2f}",
                _spread(lost(same)),
                f"{mean(row['cpu_s'] for row in same):.0f}",
            ]
        )
    if not lines:
        return ""
    head = (
        "network",
        "method",
        "level",
        "heaters",
        "drivers",
        "no heater",
        "passive none",
        "push-pull, passive none",
        "of U, V (1290)",
        "power",
        "% right",
        "points lost",
        "CPU s so far",
    )
    return "### Counts\n\n" + _table(head, lines)


def untrained(rows: Sequence[Row]) -> str:
    """Methods that do not train."""
    lines = [
        [
            f"{name}, {data}",
            method,
            goal,
            str(ports),
            f"{mean(row['active'] for row in same):,.0f}",
            f"{mean(1 - row['active'] / row['reference'] for row in same):.2%}",
            _spread(lost(same)),
            f"{mean(row['cpu_s'] for row in same):.0f}",
        ]
        for (name, data, method, goal, ports), same in _groups(
            rows, "net", "data", "method", "goal", "ports"
        ).items()
    ]
    if not lines:
        return ""
    head = ("network", "method", "goal", "ports", "heaters", "no heater", "points lost", "CPU s")
    return "### Without training, 1000 unlabelled inputs\n\n" + _table(head, lines)
