"""The worst path through a mesh, against all paths enumerated."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.physics.loss import DARK_DB, propagation_db, worst_loss_db


def by_enumeration(
    places: list[tuple[int, int, float, bool]], columns: int, ports: int, end: int
) -> float:
    """The worst loss of all paths that end at guide `end`, walked backwards."""
    if columns == 0:
        return 0.0
    here = {p: (p, db, swap) for c, p, db, swap in places if c == columns - 1}
    here |= {p + 1: (p, db, swap) for c, p, db, swap in places if c == columns - 1}
    if end not in here:
        return by_enumeration(places, columns - 1, ports, end) + 0.1 * columns
    port, db, swap = here[end]
    sources = [2 * port + 1 - end] if swap else [port, port + 1]
    worst = max(by_enumeration(places, columns - 1, ports, source) for source in sources)
    return worst + db + 0.1 * columns


@given(seed=st.integers(0, 10_000), ports=st.integers(2, 6), columns=st.integers(0, 5))
def test_worst_path_against_enumeration(seed: int, ports: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    places = []
    for column in range(columns):
        port = int(rng.integers(0, 2))
        while port < ports - 1:
            if rng.random() < 0.7:
                swaps = bool(rng.random() < 0.4)
                places.append((column, port, float(rng.uniform(0, 1)), swaps))
                port += 1
            port += 1
    loss = worst_loss_db(
        column=np.array([p[0] for p in places], np.int32),
        port=np.array([p[1] for p in places], np.int32),
        cell_db=np.array([p[2] for p in places], float),
        swaps=np.array([p[3] for p in places], bool),
        column_db=0.1 * np.arange(1.0, columns + 1.0),
        entering_db=np.zeros(ports),
    )
    expected = [by_enumeration(places, columns, ports, end) for end in range(ports)]
    assert loss == pytest.approx(expected)


def test_dark_guides_stay_dark_until_light_is_mixed_in() -> None:
    loss = worst_loss_db(
        column=np.array([0, 1], np.int32),
        port=np.array([0, 1], np.int32),
        cell_db=np.array([1.0, 1.0]),
        swaps=np.array([True, False]),
        column_db=np.zeros(2),
        entering_db=np.array([0.5, DARK_DB, DARK_DB]),
    )
    assert loss.tolist() == [DARK_DB, 2.5, 2.5]


def test_a_centimetre_loses_what_the_guide_says() -> None:
    assert propagation_db(length_um=1e4, db_per_cm=3.0) == pytest.approx(3.0)
