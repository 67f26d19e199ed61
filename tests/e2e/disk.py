"""disk.py: a small file system for a directory of a suite, and a way to fill it.

    suite = Suite(...)
    with small_disk(suite.directory / "state", 48 * MB), suite:
        fill(suite.directory / "state" / "ballast")
"""

import os
import subprocess
from contextlib import contextmanager

import pytest

MB = 1 << 20


@contextmanager
def small_disk(directory, size):
    """A file system of so many bytes; skips the test when there can be none."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=%d" % size, "aldis", str(directory)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, timeout=20).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True, timeout=20)


def fill(path):
    """Writes a file until the disk is full."""
    with open(path, "wb", buffering=0) as ballast:
        for size in (MB, 4096):
            try:
                while ballast.write(b"x" * size) == size:
                    pass
            except OSError:
                pass
