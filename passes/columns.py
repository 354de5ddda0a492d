"""Which column every MZI of a mesh stands in, so that few columns hold heaters.

A column is as long as what its neediest MZI holds: crossings alone are short, one theta makes
all of it long, one phi longer. MZIs may move past those that they do not touch. From left to
right a column of all crossings that can be next, or one of everything that can be next: a beam
search over these two, by the length so far and the longest chain of MZIs to come.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnx2mzi.tech import Technology
from onnx2mzi.tech.geometry import cells, heated_um

Ints = npt.NDArray[np.int64]
# Of V's MZIs and of U's.
Columns = tuple[Ints, Ints]


@dataclass(frozen=True, slots=True)
class Sections:
    """Lengths of columns, in um: of crossings alone, with thetas, and what phis add to either."""

    crossing_um: float
    theta_um: float
    phi_um: float
    phi_alone_um: float


def sections_of(technology: Technology) -> Sections:
    """What columns take without wires."""
    sizes, heated = cells(technology), heated_um(technology)
    two = 2 * sizes.stage_um
    return Sections(sizes.crossing_um, two + heated, heated, two + heated - sizes.crossing_um)


@dataclass(frozen=True, slots=True)
class _Way:
    """A schedule so far: its length, MZIs next on every guide, and where MZIs have gone."""

    length_um: float
    ahead: tuple[int, ...]
    columns: tuple[tuple[int, ...], ...]


def schedules(
    port: Ints, cross: npt.NDArray[np.bool_], ports: int, sections: Sections, *, width: int
) -> list[Ints]:
    """Columns of all MZIs, (K,) each, the most promising first; `port` in the light's order."""
    count = len(port)
    if not count:
        return [np.zeros(0, np.int64)]
    top, crossing = port.tolist(), cross.tolist()
    behind = [[count, count] for _ in range(count)]
    rest = [0.0] * (count + 1)
    ahead = [count] * ports
    for k in range(count - 1, -1, -1):
        p = top[k]
        behind[k] = [ahead[p], ahead[p + 1]]
        own = 0.0 if crossing[k] else sections.theta_um
        rest[k] = own + max(rest[ahead[p]], rest[ahead[p + 1]])
        ahead[p] = ahead[p + 1] = k
    ways = {tuple(ahead): _Way(0.0, tuple(ahead), ())}
    done: list[_Way] = []
    while ways and len(done) < width:
        found: dict[tuple[int, ...], _Way] = {}
        for way in ways.values():
            for made in _next(way, top, crossing, behind, count, sections):
                other = found.get(made.ahead)
                if other is None or made.length_um < other.length_um:
                    found[made.ahead] = made
        done += [way for way in found.values() if min(way.ahead) == count]
        left = [way for way in found.values() if min(way.ahead) < count]
        left.sort(key=lambda way: way.length_um + max(rest[k] for k in way.ahead))
        ways = {way.ahead: way for way in left[:width]}
    done.sort(key=lambda way: way.length_um)
    return [_columns(way, count) for way in done]


def _next(
    way: _Way,
    top: list[int],
    crossing: list[bool],
    behind: list[list[int]],
    count: int,
    sections: Sections,
) -> list[_Way]:
    ready = [
        k
        for p, k in enumerate(way.ahead[:-1])
        if k < count and way.ahead[p + 1] == k and top[k] == p
    ]
    crosses = tuple(k for k in ready if crossing[k])
    made = []
    for chosen in (crosses, tuple(ready)) if len(crosses) < len(ready) else (crosses,):
        if not chosen:
            continue
        ahead = list(way.ahead)
        for k in chosen:
            ahead[top[k]], ahead[top[k] + 1] = behind[k]
        long = sections.crossing_um if chosen is crosses else sections.theta_um
        made.append(_Way(way.length_um + long, tuple(ahead), (*way.columns, chosen)))
    return made


def _columns(way: _Way, count: int) -> Ints:
    column = np.zeros(count, np.int64)
    for c, chosen in enumerate(way.columns):
        column[list(chosen)] = c
    return column
