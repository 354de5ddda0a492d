"""Copies on a cluster of two local workers, one of which dies midway."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnx2mzi
from onnx2mzi.driver.cluster import connected
from onnx2mzi.emulate.imperfect import How, imperfect_program
from onnx2mzi.emulate.montecarlo import Bench, Effort, sampled
from onnx2mzi.errors import UsageError
from onnx2mzi.physics.imperfection import Imperfections

distributed = pytest.importorskip("distributed")
# What dask warns of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

HOW = How(Imperfections(phase_rad=0.1), seed=2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    made = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        local_directory=str(tmp_path_factory.mktemp("dask")),
    )
    yield made
    made.close()


@pytest.fixture
def bench(tiny_onnx: bytes) -> Bench:
    chip = onnx2mzi.compile(tiny_onnx)
    assert chip.program.host is not None
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    prepared = imperfect_program(chip.program, chip.emission.technology)
    return Bench(prepared, chip.program.host, {"x": x}, None)


def test_a_cluster_draws_the_same_chips(bench: Bench, cluster: Any) -> None:
    alone = sampled(bench, HOW, Effort(copies=50))
    with connected(cluster.scheduler_address) as there:
        assert there.threads == 2
        far = sampled(bench, HOW, Effort(copies=50, workers=2), executor=there.executor)
    assert far == alone


def test_a_worker_may_die(bench: Bench, cluster: Any, tmp_path: Path) -> None:
    alone = sampled(bench, HOW, Effort(copies=300))
    pids = [worker.pid for worker in cluster.workers.values()]
    with connected(cluster.scheduler_address) as there:
        submit, sent = there.executor.submit, 0

        def deadly(*args: Any) -> "Future[Any]":
            nonlocal sent
            sent += 1
            if sent == 5:
                os.kill(pids[0], signal.SIGKILL)
            return submit(*args)

        there.executor.submit = deadly  # type: ignore[assignment]
        far = sampled(bench, HOW, Effort(copies=300, workers=2), executor=there.executor)
    assert sent > 5 and far == alone


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx2mzi.driver.cluster.CONNECT_S", 1)
    with pytest.raises(UsageError, match="no scheduler answers"), connected("tcp://127.0.0.1:9"):
        pass


@pytest.mark.parametrize("text", ["", "foo", "host:8786", "tcp://host", "tcp://:1", "tcp://a:b"])
def test_what_is_no_address_is_not_tried(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "Client", None)
    with pytest.raises(UsageError) as caught, connected(text):
        pass
    assert str(caught.value) == (
        f"--scheduler: '{text}' is not like SCHEME://HOST:PORT (for example tcp://localhost:8786)"
    )


@pytest.mark.parametrize("text", ["tls://10.0.0.1:8786", "tcp://[::1]:80", "ucx://a.b-c.org:1/"])
def test_addresses_are_tried(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: object, **named: object) -> None:
        raise OSError("nobody there")

    monkeypatch.setattr(distributed, "Client", refused)
    with pytest.raises(UsageError, match="no scheduler answers: nobody there"), connected(text):
        pass
