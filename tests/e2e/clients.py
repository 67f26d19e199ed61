"""clients.py: clients that were not written here, with bounded waits.

    def test_hello(suite, slix):
        juliet = slix(suite, suite.account(), "balcony", available=0)
        juliet.message()

slix     a fixture: logs in with slixmpp. Slix has the interface of raw.Client where both have the same
         words, so that a test can use either; elements are xml.etree Elements. All of a test's clients share
         one event loop, which runs while any of them waits.
program  compiles a C client of this directory.

aioxmpp is used by test_clients.py alone, in its own event loop.
"""

import asyncio
import contextlib
import logging
import ssl
import subprocess
import time
from xml.sax.saxutils import escape, quoteattr

import pytest
import slixmpp

from raw import NS, TIMEOUT, Closed, local, q, text
from suite import SLOW

logging.getLogger("slixmpp").setLevel(logging.CRITICAL)
HERE = __file__.rpartition("/")[0]


class Refused(Exception):
    """slixmpp could not log in."""


class Slix:
    """A session of slixmpp. Nothing is sent that a test did not ask for, but for answers to requests."""

    def __init__(self, loop, suite, jid, resource=None, password=None, plugins=(), direct=False,
                 tls12=False):
        self.loop = loop
        self.suite = suite
        self.elements = []
        self.numbers = 0
        self.ended = False
        self.failure = None
        self.news = asyncio.Event()
        self.timeout = TIMEOUT * SLOW
        full = jid + ("/" + resource if resource else "")
        xmpp = self.xmpp = slixmpp.ClientXMPP(full, password or suite.password(jid))
        xmpp.loop = loop
        xmpp.ca_certs = str(suite.ca)
        if tls12:
            xmpp.ssl_context.maximum_version = ssl.TLSVersion.TLSv1_2
        xmpp.auto_reconnect = False
        xmpp.whitespace_keepalive = False
        for plugin in plugins:
            xmpp.register_plugin(plugin)
        xmpp.remove_handler("Presence")  # it answers subscriptions
        xmpp.add_filter("in", self.take)
        for event in ("session_start", "session_resumed", "failed_all_auth", "stream_error", "connection_failed",
                      "disconnected"):
            xmpp.add_event_handler(event, self.note(event))
        self.direct = direct
        self.started = False

    def note(self, event):
        def handler(data):
            if event in ("session_start", "session_resumed"):
                self.started = True
            elif event == "disconnected":
                self.ended = True
            else:
                self.failure = event, data
            self.news.set()
        return handler

    def take(self, stanza):
        if stanza.xml.tag.startswith("{%s}" % NS["client"]):
            self.elements.append(stanza.xml)
            self.news.set()
        return stanza

    def run(self, coroutine, seconds=None):
        """Runs a coroutine of slixmpp to its end."""
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, seconds or self.timeout))

    def until(self, done, seconds=None):
        """Lets the loop run until done() is true, and returns that."""
        async def turn():
            deadline = time.monotonic() + (seconds or self.timeout)
            while True:
                value = done()
                if value is not None and value is not False:
                    return value
                if self.ended and self.started:
                    raise Closed("disconnected: %s" % (self.failure,))
                self.news.clear()
                try:
                    await asyncio.wait_for(self.news.wait(), max(0, deadline - time.monotonic()))
                except asyncio.TimeoutError:
                    raise TimeoutError("not what was waited for: %s" % [text(e) for e in self.elements]) from None
        return self.loop.run_until_complete(turn())

    def connect(self):
        """Connects, authenticates and binds, or resumes."""
        self.started = self.ended = False
        port = self.suite.tls_port if self.direct else self.suite.port
        self.xmpp.connect(("127.0.0.1", port), use_ssl=self.direct, disable_starttls=self.direct)
        self.until(lambda: self.started or self.failure)
        if self.failure:
            raise Refused(str(self.failure))
        return self

    @property
    def jid(self):
        return str(self.xmpp.boundjid.full)

    @property
    def bare(self):
        return self.jid.partition("/")[0]

    # -- as raw.Client has it

    def send(self, data):
        self.xmpp.send_raw(data)

    def new_id(self):
        self.numbers += 1
        return "s%d" % self.numbers

    def wait(self, wanted, seconds=None):
        """The first element for which wanted(element) is true; others stay in their order."""
        def find():
            for at, element in enumerate(self.elements):
                if wanted(element):
                    return self.elements.pop(at)
            return None
        return self.until(find, seconds)

    def message(self, seconds=None):
        return self.wait(lambda e: local(e) == "message", seconds)

    def presence(self, seconds=None):
        return self.wait(lambda e: local(e) == "presence", seconds)

    def iq(self, kind, payload="", to=None, id=None, seconds=None):
        id = id or self.new_id()
        self.send("<iq type='%s' id=%s%s>%s</iq>" % (
            kind, quoteattr(id), " to=%s" % quoteattr(to) if to else "", payload))
        return self.wait(lambda e: local(e) == "iq" and e.get("id") == id and
                         e.get("type") in ("result", "error"), seconds)

    def say(self, to, words, kind="chat", id=None):
        id = id or self.new_id()
        self.send("<message to=%s type='%s' id='%s'><body>%s</body></message>" % (
            quoteattr(to), kind, id, escape(words)))
        return id

    def available(self, priority=0):
        self.send("<presence><priority>%d</priority></presence>" % priority)
        return self.wait(lambda e: local(e) == "presence" and e.get("from") == self.jid)

    def sync(self):
        answer = self.iq("get", "<ping xmlns='%s'/>" % NS["ping"], to=self.bare.partition("@")[2])
        assert answer.get("type") == "result", text(answer)

    def pending(self, name=None):
        self.sync()
        found = [e for e in self.elements if name is None or local(e) == name]
        self.elements = [e for e in self.elements if e not in found]
        return found

    def end(self):
        """Closes the stream properly."""
        if not self.ended and self.xmpp.transport:
            self.run(self.xmpp.disconnect(wait=2.0))
            self.ended = True

    def abort(self):
        """Breaks the TCP connection."""
        self.xmpp.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.ended = True

    close = abort


def fall_silent(loop, context):
    """What slixmpp leaves undone when it is cut off is no matter."""


@pytest.fixture
def slix():
    """Logs in with slixmpp: slix(suite, jid, resource, available=priority, plugins=..., direct=...)."""
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(fall_silent)
    asyncio.set_event_loop(loop)
    made = []

    def login(suite, jid, resource=None, available=None, **options):
        client = Slix(loop, suite, jid, resource, **options)
        made.append(client)
        client.connect()
        if available is not None:
            client.available(available)
        return client

    yield login
    for client in made:
        with contextlib.suppress(AttributeError):  # asyncio's, when the connection has gone already
            client.xmpp.abort()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0.01))
    asyncio.set_event_loop(None)
    loop.close()


# -- what tests share ---------------------------------------------------------------------------------


def fence(client):
    """Waits until all that a session has sent to do with its account is done, also where authd does it."""
    answer = client.iq("get", "<query xmlns='%s'><fence xmlns='urn:fence'/></query>" % NS["private"])
    assert answer.get("type") == "result", text(answer)


def befriend(a, b):
    """Makes two sessions' accounts see each other's presence, and forgets what was said on the way."""
    for one, other in ((a, b), (b, a)):
        bare = one.jid.partition("/")[0], other.jid.partition("/")[0]
        one.send("<presence to='%s' type='subscribe'/>" % bare[1])
        fence(one)
        other.send("<presence to='%s' type='subscribed'/>" % bare[0])
        fence(other)
    a.pending()
    b.pending()


def child(element, ns, name):
    """The first child with this name, or None."""
    return element.find(q(ns, name))


def stanza_id(message):
    """The archive's id of a message (XEP-0359)."""
    element = child(message, "sid", "stanza-id")
    return element.get("id") if element is not None else None


def program(directory, source, package):
    """Compiles a C file of this directory against a library. Returns the program's path."""
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", package], capture_output=True, text=True,
                           check=True, timeout=20).stdout.split()
    path = str(directory / source.partition(".")[0])
    subprocess.run(["cc", "-std=gnu11", "-Wall", "-Wextra", "-O1", "-o", path, HERE + "/" + source, *flags],
                   check=True, timeout=60)
    return path
