"""Which slots heaters for phi take: together in few columns, one a crossing or MZI.

Every stretch of guide has a slot at every MZI that it passes (see `guides`). Columns that hold
heaters for phi are longer: those are chosen that together give every stretch what it needs and
cost least, a weighted set cover; within them slots are given out by augmenting paths.
"""

import numpy as np

from onnx2mzi.ir import MeshTile
from onnx2mzi.passes.columns import Columns, Sections, sections_of
from onnx2mzi.passes.guides import TURN_RAD, Guides, Slot, heaters
from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import Technology

# Covers to try, all but the first by prices that are a little wrong.
COVERS = 6


def covering(
    tile: MeshTile,
    guides: Guides,
    rad: Real,
    columns: Columns,
    technology: Technology,
    rng: np.random.Generator,
) -> dict[Slot, float] | None:
    """Slots with what their heaters make, in columns that together get little longer for it."""
    asked = {k: heaters(x) for k, x in enumerate(rad.tolist()) if not guides.free[k] and heaters(x)}
    sections = sections_of(technology)
    mixing = {
        (m, c)
        for m, mesh in enumerate((tile.v, tile.u))
        for c in columns[m][~mesh.crossings].tolist()
    }
    where = {
        k: [(slot.mesh, int(columns[slot.mesh][slot.index])) for slot in guides.slots[k]]
        for k in asked
    }
    if any(len(where[k]) < need for k, need in asked.items()):
        return None
    chosen: set[tuple[int, int]] | None = None
    least = np.inf
    for trial in range(COVERS):
        found = _cover(asked, where, mixing, sections, rng if trial else None)
        price = sum(_price(column, mixing, sections) for column in found)
        if price < least:
            chosen, least = found, price
    assert chosen is not None
    while True:
        taken, missing = _matched(guides, asked, where, chosen)
        if missing is None:
            return _filled(taken, rad)
        more = [column for column in where[missing] if column not in chosen]
        if not more:
            return None
        chosen.add(min(more, key=lambda column: _price(column, mixing, sections)))


def _price(column: tuple[int, int], mixing: set[tuple[int, int]], sections: Sections) -> float:
    return sections.phi_um if column in mixing else sections.phi_alone_um


def _cover(
    asked: dict[int, int],
    where: dict[int, list[tuple[int, int]]],
    mixing: set[tuple[int, int]],
    sections: Sections,
    rng: np.random.Generator | None,
) -> set[tuple[int, int]]:
    """Columns in which all stretches find as many slots as they need: a greedy weighted cover,
    with `rng` by prices that are a little wrong, then without what it can do without."""
    columns = sorted({column for seen in where.values() for column in seen})
    price = {column: _price(column, mixing, sections) for column in columns}
    told = dict(price)
    if rng is not None:
        told = {column: p * rng.uniform(0.6, 1.5) for column, p in price.items()}
    left = dict(asked)
    chosen: set[tuple[int, int]] = set()
    while left:
        gain = dict.fromkeys(columns, 0)
        for k in left:
            for column in set(where[k]) - chosen:
                gain[column] += 1
        best = max(columns, key=lambda column: gain[column] / told[column])
        chosen.add(best)
        for k in [k for k in left if best in where[k]]:
            left[k] -= where[k].count(best)
            if left[k] <= 0:
                del left[k]
    for column in sorted(chosen, key=lambda column: -price[column]):
        fewer = chosen - {column}
        if all(sum(c in fewer for c in where[k]) >= need for k, need in asked.items()):
            chosen = fewer
    return chosen


def _matched(
    guides: Guides,
    asked: dict[int, int],
    where: dict[int, list[tuple[int, int]]],
    chosen: set[tuple[int, int]],
) -> tuple[dict[tuple[int, int], tuple[int, Slot]], int | None]:
    """An MZI for every heater, by augmenting paths; and a stretch that found none."""
    taken: dict[tuple[int, int], tuple[int, Slot]] = {}

    def place(k: int, seen: set[tuple[int, int]]) -> bool:
        # The last slots first: they are next to the MZI that the phase is for.
        for slot, column in zip(guides.slots[k][::-1], where[k][::-1], strict=True):
            mzi = slot.mesh, slot.index
            if column not in chosen or mzi in seen:
                continue
            seen.add(mzi)
            if mzi not in taken or (taken[mzi][0] != k and place(taken[mzi][0], seen)):
                taken[mzi] = (k, slot)
                return True
        return False

    for k, need in sorted(asked.items(), key=lambda item: len(where[item[0]])):
        for _ in range(need):
            if not place(k, set()):
                return taken, k
    return taken, None


def _filled(taken: dict[tuple[int, int], tuple[int, Slot]], rad: Real) -> dict[Slot, float]:
    count: dict[int, int] = {}
    for k, _ in taken.values():
        count[k] = count.get(k, 0) + 1
    return {slot: float(rad[k]) % TURN_RAD / count[k] for k, slot in taken.values()}
