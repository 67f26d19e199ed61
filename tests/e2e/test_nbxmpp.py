"""nbxmpp, the library of gajim: nbxmpp_client.py is the client, in a process of its own."""

import json
import os
import queue
import subprocess
import threading
from pathlib import Path

import pytest

from raw import body, q
from suite import SLOW
from test_carbons import carbons

PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("nbxmpp_client.py")


def installed():
    return subprocess.run([PYTHON, "-c", "import gi; gi.require_version('Soup', '3.0'); import nbxmpp"],
                          capture_output=True).returncode == 0


pytestmark = [pytest.mark.skipif(not installed(), reason="nbxmpp is not installed"),
              pytest.mark.timeout(60 * SLOW)]


class Nbxmpp:
    def __init__(self, suite, directory, account, resource):
        environment = {**os.environ, "HOME": str(directory), "XDG_CACHE_HOME": str(directory),
                       "XDG_CONFIG_HOME": str(directory), "XDG_DATA_HOME": str(directory), "no_proxy": "*",
                       "GSETTINGS_BACKEND": "memory", "GIO_USE_PROXY_RESOLVER": "dummy"}
        self.jid = "%s/%s" % (account, resource)
        self.errors = (directory / (resource + ".err")).open("w+")
        self.process = subprocess.Popen(
            [PYTHON, str(SCRIPT), "127.0.0.1:%d" % suite.port, str(suite.ca), self.jid], env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, bufsize=1)
        self.events = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        self.command(suite.password(account))
        self.login = self.event("login")

    def read(self):
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def command(self, line):
        self.process.stdin.write(line + "\n")

    def event(self, what):
        """The next event, which must be this one."""
        try:
            event = self.events.get(timeout=15 * SLOW)
        except queue.Empty:
            self.errors.seek(0)
            pytest.fail("no %s: %s" % (what, self.errors.read()))
        assert event["what"] == what, event
        return event

    def close(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


@pytest.fixture
def nbxmpp(tmp_path):
    running = []

    def start(suite, account, resource):
        running.append(Nbxmpp.__new__(Nbxmpp))
        try:
            running[-1].__init__(suite, tmp_path, account, resource)
        except BaseException:
            if hasattr(running[-1], "process"):
                running[-1].close()
            running.pop()
            raise
        return running[-1]

    yield start
    for client in running:
        client.close()


def test_all(suite, nbxmpp):
    """Logs in, chats both ways, turns carbons on, reads the archive, ends."""
    a, b = suite.accounts(2)
    romeo = suite.login(b, "garden", available=0)
    two = carbons(suite.login(a, "two", available=0))
    one = nbxmpp(suite, a, "one")
    assert one.login["jid"] == one.jid
    one.command("say %s Wherefore art thou?" % b)
    assert body(romeo.message()) == "Wherefore art thou?"
    assert body(two.message().find(".//" + q("client", "message"))) == "Wherefore art thou?"
    romeo.say(one.jid, "Here & <there>")
    heard = one.event("message")
    assert heard["words"] == "Here & <there>" and heard["sender"] == romeo.jid and heard["carbon"] is None
    two.message()
    one.command("carbons")
    assert one.event("carbons")["enabled"]
    two.say(b, "said by the other")
    romeo.message()
    sent = one.event("message")
    assert (sent["words"], sent["carbon"]) == ("said by the other", "sent")
    romeo.say(two.jid, "for the other alone")
    two.message()
    received = one.event("message")
    assert (received["words"], received["carbon"]) == ("for the other alone", "received")
    one.command("history")  # of all: this version of nbxmpp cannot make a form with a correspondent
    archived = [one.event("message") for _ in range(4)]
    assert [e["words"] for e in archived] == ["Wherefore art thou?", "Here & <there>", "said by the other",
                                             "for the other alone"]
    assert all(e["archived"] for e in archived)
    assert one.event("history") == {"what": "history", "complete": True}
    one.command("end")
    one.event("end")
