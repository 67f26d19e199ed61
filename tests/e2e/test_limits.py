"""Limits that a stream announces: XEP-0478."""

import pytest

from raw import Closed, encode64, q


def limits(features):
    element = features.find(q("limits", "limits"))
    return tuple(int(element.findtext(q("limits", name))) for name in ("max-bytes", "idle-seconds"))


@pytest.mark.parametrize("sasl2", [False, True])
def test_announced(make_suite, sasl2):
    """Before and after login, and they are the real ones: what is just as large is taken."""
    suite = make_suite(c2s={"login-bytes": "20K", "login-time": 50, "stanza-size": 30000, "idle-time": 70})
    account = suite.account()
    client = suite.stream()
    assert limits(client.features) == (20480, 50)
    if sasl2:
        client.authenticate2("PLAIN", account.partition("@")[0], suite.password(account))
    else:
        client.authenticate("PLAIN", account.partition("@")[0], suite.password(account))
        client.open("localhost")
    assert limits(client.features) == (30000, 70)
    client.bind()
    client.available()
    stanza = "<message type='chat' id='x'><body>%s</body></message>"
    room = 30000 - len(stanza) + 2
    client.send(stanza % ("x" * room))
    assert client.message().get("id") == "x"
    client.send(stanza % ("x" * (room + 1)))
    assert client.stream_error() == "policy-violation"


def test_before_login(make_suite):
    suite = make_suite(c2s={"login-bytes": "20K"})
    client = suite.stream()
    client.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%s" % encode64(b"x" * 20480))
    assert client.stream_error() == "policy-violation"


def test_reload(make_suite):
    suite = make_suite()
    assert limits(suite.stream().features)[0] == 32768
    suite.options["c2s"]["login-bytes"] = "16K"
    suite.write_config()
    suite.ctl("reload")
    assert limits(suite.stream().features)[0] == 16384
