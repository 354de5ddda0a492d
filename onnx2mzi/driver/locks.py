"""A lock on a folder that ends with the process that holds it, however that ends."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether this process holds `folder` alone while the block runs; never waits.

    Where the system has no such locks (Windows), every process is told that it does.
    """
    if sys.platform == "win32":
        yield True
        return
    import fcntl

    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:  # A file system without locks.
            yield True
            return
        # Whoever held it before may have removed the folder meanwhile.
        yield folder.exists() and os.fstat(handle).st_ino == folder.stat().st_ino
    finally:
        os.close(handle)
