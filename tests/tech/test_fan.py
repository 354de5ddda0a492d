"""Fan-out: equal lengths, guides that keep apart, arrays of one pitch."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx2mzi.tech.fan import array_heights_um, detour, fan

RADIUS = 10.0
MOST = 121.0


@given(st.floats(0, 2000), st.floats(5, 50), st.floats(1, 130))
def test_a_detour_is_as_long_as_asked(extra: float, radius: float, room: float) -> None:
    made = detour(extra, radius, 2 * radius + room)
    assert made.path_um - made.run_um == pytest.approx(extra, abs=1e-6)
    if made.count:
        assert made.bend.rise_um <= 2 * radius + room + 1e-9
        assert made.bend.angle_rad <= np.pi / 2
        assert made.bend.straight_um >= 0


def test_detours_have_few_bends() -> None:
    assert detour(0.0, RADIUS, MOST).count == 0
    assert detour(20.0, RADIUS, MOST).count == 1
    assert detour(200.0, RADIUS, MOST).count == 1
    assert detour(366.0, RADIUS, MOST).count == 2


@given(st.lists(st.floats(-2000, 2000), min_size=1, max_size=40))
def test_all_guides_are_equally_long(climbs: list[float]) -> None:
    made = fan(climbs, RADIUS, MOST)
    extra = [guide.extra_um for guide in made]
    assert max(extra) - min(extra) < 1e-6
    # The one that climbs most has no detour.
    most = max(range(len(climbs)), key=lambda k: abs(climbs[k]))
    assert made[most].detour.count == 0
    assert [guide.bend.rise_um for guide in made] == pytest.approx([abs(c) for c in climbs])


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(1, 20)), min_size=1, max_size=6))
def test_arrays_keep_their_order_and_pitch(tiles: list[tuple[float, int]]) -> None:
    middles = -np.cumsum([gap for gap, _ in tiles])
    counts = [count for _, count in tiles]
    heights = array_heights_um(middles.tolist(), counts, 127.0, 0.001)
    assert [len(one) for one in heights] == counts
    apart = -np.diff(np.concatenate(heights))
    assert apart.min(initial=np.inf) >= 127.0 - 0.002
    for one in heights:
        assert -np.diff(one) == pytest.approx(np.full(len(one) - 1, 127.0))


def test_arrays_with_room_lie_around_their_tiles() -> None:
    first, second = array_heights_um([0.0, -2000.0], [4, 4], 127.0, 0.001)
    assert first.mean() == pytest.approx(0.0, abs=1e-3)
    assert second.mean() == pytest.approx(-2000.0, abs=1e-3)
    # Without room both give way alike.
    first, second = array_heights_um([0.0, -300.0], [4, 4], 127.0, 0.001)
    assert first.mean() == pytest.approx(-300.0 - second.mean(), abs=1e-3)
