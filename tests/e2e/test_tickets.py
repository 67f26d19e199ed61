"""TLS sessions are resumed at whatever c2sd a client reaches: authd gives all of them one key, for a time."""

import time

import pytest

from memory import Needles, readable
from suite import SANITIZED, wait_until


def session(suite, version="1.3"):
    """A TLS session that can be resumed."""
    client = suite.connect(direct=True)
    client.handshake("localhost", alpn=["xmpp-client"], version=version)
    client.open("localhost")  # with TLS 1.3 tickets come after the handshake
    found = client.session()
    client.end()
    return found


def resumed(suite, old, version="1.3"):
    client = suite.connect(direct=True)
    client.handshake("localhost", alpn=["xmpp-client"], version=version, session=old)
    client.open("localhost")
    result = client.resumed()
    client.end()
    return result


def settled(suite):
    """Waits until both processes have the same key."""
    def same():
        old = session(suite)
        return all(resumed(suite, old) for _ in range(6))
    wait_until(same, pause=0.1)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_everywhere(make_suite, version):
    suite = make_suite()
    settled(suite)
    old = session(suite, version)
    assert all(resumed(suite, old, version) for _ in range(10))
    for name in ("c2sd.0", "c2sd.1"):
        suite.kill(name)
    wait_until(lambda: all(resumed(suite, old, version) for _ in range(6)))


def test_rotation(make_suite):
    """What was begun under a key ends with it."""
    suite = make_suite(auth={"ticket-time": 3})
    settled(suite)
    old = session(suite)
    time.sleep(3.2)
    assert not any(resumed(suite, old) for _ in range(6))
    settled(suite)
    assert suite.log_text().count("ticket key seconds=3") in (2, 3, 4)


def test_authd_dies(make_suite):
    """Its key was in memory only: there is another one."""
    suite = make_suite()
    settled(suite)
    old = session(suite)
    suite.kill("authd")
    wait_until(lambda: not any(resumed(suite, old) for _ in range(4)))
    settled(suite)


def test_off(make_suite):
    suite = make_suite(auth={"ticket-time": 0})
    for version in ("1.2", "1.3"):
        old = session(suite, version)
        assert not any(resumed(suite, old, version) for _ in range(4))
