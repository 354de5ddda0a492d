"""River routing: wires keep their distance, are whole, and climb no more than they must."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx2mzi.physics.arrays import Real
from onnx2mzi.tech import load_technology
from onnx2mzi.tech.escape import escape, field_um
from onnx2mzi.tech.over import lift_um, over_cells
from onnx2mzi.tech.river import Jogs, channel_um, river

SPACE_UM = 8.0


@st.composite
def wires(draw: st.DrawFn) -> tuple[Real, Real, Real]:
    """Where wires start and must end, in order and apart, and how wide they are."""
    count = draw(st.integers(1, 9))
    width = np.array(draw(st.lists(st.sampled_from([8.0, 20.0]), min_size=count, max_size=count)))
    apart = (width[:-1] + width[1:]) / 2 + SPACE_UM
    ends = []
    for _ in range(2):
        gap = draw(st.lists(st.sampled_from([0.0, 0.0, 1.0, 40.0]), min_size=count, max_size=count))
        start = draw(st.integers(-100, 100))
        ends.append(start + np.cumsum(np.concatenate([[0.0], apart]) + gap))
    return ends[0], ends[1], width


def boxes_of(made: Jogs, ends: tuple[Real, Real], width: Real, top: float) -> list[Real]:
    """The metal of every wire up to `top`: (x0, y0, x1, y1), shape (boxes, 4)."""
    found = []
    for k, half in enumerate(width / 2):
        x, y, boxes = ends[0][k], 0.0, []
        for step in np.flatnonzero(made.wire == k):
            assert made.from_um[step] == x
            at, to = made.y_um[step], made.to_um[step]
            boxes.append((x - half, y, x + half, at))
            boxes.append((min(x, to) - half, at - half, max(x, to) + half, at + half))
            assert at > y
            x, y = to, at
        assert x == ends[1][k]
        boxes.append((x - half, y, x + half, top))
        found.append(np.array(boxes))
    return found


def gaps_um(a: Real, b: Real) -> Real:
    """The larger of the gaps along x and along y of every two boxes."""
    x = np.maximum(a[:, None, 0] - b[None, :, 2], b[None, :, 0] - a[:, None, 2])
    y = np.maximum(a[:, None, 1] - b[None, :, 3], b[None, :, 1] - a[:, None, 3])
    return np.asarray(np.maximum(x, y))


@settings(max_examples=40)
@given(wires())
def test_wires_arrive_and_keep_their_distance(made: tuple[Real, Real, Real]) -> None:
    start, end, width = made
    jogs = river(start, end, width, SPACE_UM)
    top = float(jogs.top_um.max(initial=0.0)) + SPACE_UM
    assert channel_um(start, end, width, SPACE_UM) + SPACE_UM == top
    drawn = boxes_of(jogs, (start, end), width, top)
    for k in range(len(drawn) - 1):
        for other in drawn[k + 1 :]:
            assert gaps_um(drawn[k], other).min() >= SPACE_UM - 1e-6
    moved = np.flatnonzero(start != end)
    assert set(jogs.wire.tolist()) == set(moved.tolist())
    assert (jogs.y_um - width[jogs.wire] / 2 >= SPACE_UM - 1e-6).all()


@settings(max_examples=40)
@given(wires())
def test_no_wire_climbs_more_than_those_that_it_must_pass_force_it_to(
    made: tuple[Real, Real, Real],
) -> None:
    start, end, width = made
    jogs = river(start, end, width, SPACE_UM)
    past = np.concatenate([[0.0], np.cumsum((width[:-1] + width[1:]) / 2 + SPACE_UM)])
    least = 0.0
    for i in np.flatnonzero(start != end):
        # Wires between, packed closely beside wire i's end, that start before it.
        along = np.arange(i, len(start)) if end[i] > start[i] else np.arange(i, -1, -1)
        sign = np.sign(end[i] - start[i])
        met = [k for k in along if sign * (start[k] - (past[k] - past[i]) - end[i]) < -1e-6]
        above = abs(past[met[-1]] - past[i]) + width[met[-1]] / 2 + SPACE_UM
        least = max(least, above + width[i] / 2)
    assert jogs.top_um.max(initial=0.0) == pytest.approx(least)


def test_a_row_of_wires_that_all_move_has_doglegs_and_a_few_have_none() -> None:
    start = np.arange(0.0, 1200.0, 40.0)
    width = np.full(30, 8.0)
    far = river(start, start + 100.0, width, SPACE_UM)
    # Side by side, wires are 16 um apart: each gains 24 um on the next, and meets four.
    assert far.top_um.max() == 12.0 + 4 * 16.0 + 4.0
    assert len(far.wire) == 26 * 5 + 4 + 3 + 2 + 1
    few = river(start[:3], start[:3] + 100.0, width[:3], SPACE_UM)
    assert len(few.wire) == 3
    assert few.top_um.tolist() == [48.0, 32.0, 16.0]
    none = river(start[:0], start[:0], width[:0], SPACE_UM)
    assert len(none.wire) == len(none.top_um) == 0


@pytest.mark.parametrize("name", ["cornerstone_si220", "siepic_ebeam", "generic_two_metal"])
@settings(max_examples=15)
@given(data=st.data())
def test_pads_and_their_wires_keep_their_distance(name: str, data: st.DataObject) -> None:
    technology = load_technology(name)
    space, track = technology.rules.metal_space_um, technology.routing.track_um
    kinds = data.draw(st.lists(st.sampled_from([False] * 6 + [True]), min_size=1, max_size=16))
    wide = np.array(kinds)
    width = np.where(wide, 30.0, track)
    apart = (width[:-1] + width[1:]) / 2 + space
    x = np.cumsum(np.concatenate([[50.0], apart])) + 200 * np.cumsum(wide)
    field = field_um(technology, wide)
    right = max(float(x[-1]) + 50.0, field) + data.draw(st.sampled_from([0.0, 0.001, 7.777]))
    made = escape(technology, x, width, wide * 10.0, wide, left_um=0.0, right_um=right)
    lift = lift_um(technology) if made.under.any() else 0.0
    assert over_cells(technology) or not made.under.any()
    half, size = made.width_um / 2, technology.pads.size_um
    pads = np.stack([made.pad_x_um, made.pad_y_um, made.pad_x_um, made.pad_y_um], 1)
    pads += np.stack([-made.pad_um, [-size] * len(x), made.pad_um, [size] * len(x)], 1) / 2
    assert pads[:, 0].min() >= 0 and pads[:, 2].max() <= right
    drawn = boxes_of(made.jogs, (x, made.pass_x_um), made.width_um, 0.0)
    for k, boxes in enumerate(drawn):
        boxes[-1, 3] = made.pad_y_um[k]
        y = made.pad_y_um[k]
        into = [made.pad_x_um[k], y - half[k], made.pass_x_um[k] + half[k], y + half[k]]
        drawn[k] = np.concatenate([boxes, [into, pads[k]]])
        # In the other metal a wire that changes goes on beside the mesh.
        assert made.jogs.y_um[made.jogs.wire == k].min(initial=1e9) >= lift + half[k] + space - 1e-6
        assert drawn[k][:, 3].max() <= made.height_um - space + 1e-6
    for k in range(len(drawn)):
        for m in range(k):
            # Pads are of both metals.
            apart = drawn[m] if made.under[k] == made.under[m] else pads[m : m + 1]
            assert gaps_um(drawn[k], apart).min() >= space - 1e-6
            assert gaps_um(pads[k : k + 1], drawn[m]).min() >= space - 1e-6
