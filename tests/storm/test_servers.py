"""Storms between two servers: their clients talk across, while processes of either are killed."""

import time

import pytest

from harness import Storm, form
from servers import pair

PATIENCE_TIME = 180     # a server that was not reached is tried again after 5 s, twice that each time


def storm_between():
    """A storm of a.test and b.test."""
    a, b = pair()
    storm = Storm(suites={"a.test": a, "b.test": b})
    storm.quiet_time = PATIENCE_TIME
    return storm


def kill_each_second(storm, name, seconds):
    """kill -9 of a process every second. How often it was there to be killed."""
    kills = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1)
        kills += storm.kill(name) is not None
        storm.alive()
    return kills


def test_kills_of_s2sd():
    """s2sd is killed each second: of one server, then of the other."""
    with storm_between() as storm:
        storm.chat(form(300, 600))
        for name in "a.test s2sd", "b.test s2sd":
            assert kill_each_second(storm, name, form(4, 60)) >= 3
        verdict = storm.end("between servers: s2sd of one, then of the other")
        assert verdict.count["acked"] > 500


@pytest.mark.parametrize("roles", [("s2sd",), ("s2sd", "archived", "router")] + form(
    [], [("s2sd", "archived", "router", "authd", "c2sd.0", "c2sd.1")]), ids="-".join)
def test_random_kills(roles):
    """Processes of both are killed at random."""
    with storm_between() as storm:
        storm.chat(form(300, 600))
        storm.kill_at_random(form(5, 80, "SECONDS"), pause=(0.2, 0.8), roles=roles)
        verdict = storm.end("between servers: %s of both at random" % ", ".join(roles))
        assert verdict.count["acked"] > 500
