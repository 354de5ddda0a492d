"""What matrices cost on a chip: phases of tiles in their canonical form.

A real (m, n) matrix of rank r has r (m + n - r) degrees of freedom, and as many phases; one of
them is the electronic gain. A complex one has twice as many. The figures are those of real
matrices; only ratios matter to the search.
"""

from collections.abc import Iterator


def cuts(length: int, ports: int) -> Iterator[slice]:
    """The pieces of a row or column of tiles."""
    for start in range(0, length, ports):
        yield slice(start, min(start + ports, length))


def tile_phases(m: int, n: int, rank: int) -> int:
    """Phases of an (m, n) tile of at most `rank`."""
    rank = min(m, n, rank)
    return max(rank * (m + n - rank) - 1, 0)


def direct_phases(m: int, n: int, rank: int, ports: int) -> int:
    """Phases of an (m, n) matrix of `rank` on one grid, tile by tile."""
    rows = [s.stop - s.start for s in cuts(m, ports)]
    columns = [s.stop - s.start for s in cuts(n, ports)]
    return sum(tile_phases(a, b, rank) for a in rows for b in columns)


def split_phases(m: int, n: int, rank: int, ports: int) -> int:
    """Phases of an (m, n) matrix as (m, rank) times (rank, n) on two grids in sequence.

    The basis in between is free: one tile of the first factor is made a bare isometry with a
    triangle of zeros, which saves rank^2 phases (`split.gauged`). No rank above `ports`.
    """
    tiles = direct_phases(m, rank, rank, ports) + direct_phases(rank, n, rank, ports)
    return tiles - rank * rank + 1


def split_pays(m: int, n: int, rank: int, ports: int) -> bool:
    """Whether two grids cost less than one; only where the first fits one row of tiles."""
    if rank > min(m, n, ports) or (m <= ports and n <= ports):
        return False
    return split_phases(m, n, rank, ports) < direct_phases(m, n, rank, ports)


def matrix_phases(m: int, n: int, rank: int, ports: int) -> int:
    """Phases of the cheaper form."""
    if 0 in (m, n, rank):
        return 0
    if split_pays(m, n, rank, ports):
        return split_phases(m, n, rank, ports)
    return direct_phases(m, n, rank, ports)
