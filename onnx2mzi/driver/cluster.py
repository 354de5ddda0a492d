"""Copies on the workers of a Dask cluster (extra `cluster`): the same numbers as on one machine."""

import contextlib
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from onnx2mzi.emulate.montecarlo import Bench
from onnx2mzi.errors import UsageError

CONNECT_S = 20
# A worker that dies takes its copies along; they are drawn again, as often as this.
RETRIES = 5
# The host is a name, a number, or within brackets if it has colons.
_ADDRESS = re.compile(r"[a-z][a-z0-9+]*://(?:\[[0-9A-Fa-f:.%]+\]|[^\s\[\]/:]+):[0-9]{1,5}/?")


class Spread(Executor):
    """An executor that sends a bench to the cluster once, not with every task."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._inner = client.get_executor(pure=False, retries=RETRIES)
        self._sent: dict[int, tuple[Bench, Any]] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        there = [self._there(part) if isinstance(part, Bench) else part for part in args]
        future: Future[Any] = self._inner.submit(fn, *there, **kwargs)
        return future

    def _there(self, bench: Bench) -> Any:
        if id(bench) not in self._sent:
            # A task, unlike scattered data, is made anew where a worker died.
            sent = self._client.submit(_held, bench, pure=False, retries=RETRIES)
            self._sent[id(bench)] = (bench, sent)
        return self._sent[id(bench)][1]


def _held(bench: Bench) -> Bench:
    return bench


@dataclass(frozen=True, slots=True)
class Cluster:
    """A connected cluster: where to submit, and how many threads its workers have."""

    executor: Executor
    threads: int


@contextlib.contextmanager
def connected(scheduler: str) -> Iterator[Cluster]:
    """The cluster at an address like tcp://host:8786. Raises UsageError if there is none."""
    # Dask tries for long what is no address, and prints what it thinks of it.
    if not _ADDRESS.fullmatch(scheduler):
        raise UsageError(
            f"'{scheduler}' is not like SCHEME://HOST:PORT",
            where="--scheduler",
            hint="for example tcp://localhost:8786",
        )
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "needs dask", where="--scheduler", hint="pip install 'onnx2mzi[cluster]'"
        ) from None
    connect: Any = Client
    try:
        client = connect(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"no scheduler answers: {reason}", where=f"--scheduler {scheduler}"
        ) from None
    try:
        threads = sum(client.nthreads().values())
        if threads == 0:
            raise UsageError("the cluster has no workers", where=f"--scheduler {scheduler}")
        yield Cluster(Spread(client), threads)
    finally:
        client.close()
