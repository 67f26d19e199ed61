"""Storms between two servers: what is said from one to the other while s2sd of one is killed every second."""

import re
import time

from raw import body
from servers import federation
from suite import SLOW

from harness import form


def numbers_of(client, expected, seconds):
    """The numbers that have come, until all are there or nothing has come for a while."""
    found = []
    end = time.monotonic() + seconds
    while len(set(found)) < expected and time.monotonic() < end:
        try:
            message = client.message(15 * SLOW)
        except Exception:  # nothing for so long
            break
        if message.get("type") != "error":
            found.append(int(re.match(r"\d+", body(message)).group()))
    return found


def test_kills_of_s2sd():
    """Nothing is lost either way. What comes twice is counted: acknowledgements (XEP-0198) that did not come before
    the death leave it open whether the other side has a message, and it is sent again."""
    with federation() as (a, b):
        juliet = a.login(a.account(), "balcony", available=0)
        romeo = b.login(b.account(), "orchard", available=0)
        sent, kills, strike = 0, 0, time.monotonic() + 1
        end = time.monotonic() + form(8, 120)
        while time.monotonic() < end:
            for _ in range(20):
                juliet.say(romeo.jid, "%d" % sent)
                romeo.say(juliet.jid, "%d" % sent)
                sent += 1
            juliet.sync(30 * SLOW)
            romeo.sync(30 * SLOW)
            if time.monotonic() > strike:
                a.kill("s2sd")
                kills += 1
                strike = time.monotonic() + 1
        assert kills >= 3 and sent > 100
        for name, client in (("a.test", juliet), ("b.test", romeo)):
            found = numbers_of(client, sent, 120 * SLOW)
            lost = set(range(sent)) - set(found)
            print("to %s: %d sent, %d kills, %d lost, %d twice" % (
                name, sent, kills, len(lost), len(found) - len(set(found))))
            assert not lost, sorted(lost)[:20]
