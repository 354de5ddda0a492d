"""Edge couplers in made chips: light is lost on its way in and on its way out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from onnx2mzi.emulate.imperfect_devices import mesh_devices
from onnx2mzi.ir import Mesh
from onnx2mzi.physics.shifter import Drive
from onnx2mzi.tech import load_technology
from onnx2mzi.tech.edge import EdgeKind

MakeMesh = Callable[..., Mesh]


def test_couplers_lose_light_where_they_are_drawn(make_mesh: MakeMesh) -> None:
    plain = load_technology("cornerstone_si220")
    mesh = make_mesh(np.random.default_rng(3), 4, Drive.ARM_CHOICE)
    lossy = replace(plain, edge=replace(plain.edge, loss_db=plain.edge.loss_db + 1.5))
    bare = replace(lossy, edge=replace(lossy.edge, coupler=EdgeKind.NONE))
    losses = [mesh_devices(mesh, technology).common_db for technology in (plain, lossy, bare)]
    assert losses[1] - losses[0] == pytest.approx(1.5)
    assert losses[0] - losses[2] == pytest.approx(plain.edge.loss_db)
    assert plain.edge.loss_db > 0
