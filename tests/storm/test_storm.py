"""Storms: what the clients of a suite see when it is struck. README.md says what is checked."""

import pytest

from harness import Storm, form


def test_random_kills():
    """a. A random process is killed every few hundred milliseconds."""
    with Storm() as storm:
        storm.chat(800)
        storm.kill_at_random(form(10, 300, "SECONDS"))
        verdict = storm.end("random kills")
        assert verdict.count["acked"] > 1000
