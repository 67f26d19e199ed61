"""One user with many devices: each has what it is entitled to exactly once and in order, on its stream, also those that
do not read or are detached while the others take the messages off the spool, and whatever is killed meanwhile."""

import pytest

from clients import stanza_id
from raw import NS, body, q, text
from suite import wait_until
from test_carbons import carbons
from test_sm import acknowledge, enable as enable_sm, resumed

CSI = "urn:xmpp:csi:0"
SM = (q("sm", "r"), q("sm", "a"))


class Device:
    """A client that notes what it hears, and acknowledges."""

    def __init__(self, suite, account, name, priority, copies=True, managed=False, inactive=False, worker=None):
        self.suite, self.account, self.name = suite, account, name
        self.priority, self.copies, self.managed, self.inactive = priority, copies, managed, inactive
        self.heard, self.h = [], 0
        self.login(worker)

    def login(self, worker=None):
        self.client = self.suite.login(self.account, self.name, available=self.priority, worker=worker)
        if self.copies:
            carbons(self.client)
        self.client.pending()
        if self.inactive:
            self.client.send("<inactive xmlns='%s'/>" % CSI)
        if self.managed:
            enable_sm(self.client)
            self.h = 0

    def take(self, element):
        """Notes an element: the words of a message, the archive's id, whether it is a copy."""
        if element.tag == q("sm", "r"):
            acknowledge(self.client, self.h)
        if element.tag in SM:
            return
        self.h += 1
        if element.tag != q("client", "message"):
            return
        inner = element.find(".//" + q("client", "message"))
        message = element if inner is None else inner
        self.heard.append((body(message), stanza_id(message), inner is not None))

    def hear(self, count):
        """Reads until there are so many messages, acknowledges all, and sees that nothing follows."""
        while len(self.heard) < count:
            self.take(self.client.next(20))
        self.end()

    def end(self):
        if self.managed:
            acknowledge(self.client, self.h)
        self.client.sync()
        for element in list(self.client.elements):
            self.client.elements.remove(element)
            self.take(element)
        self.h += 1  # the answer to the ping

    def resume(self):
        self.client = resumed(self.suite, self.client, self.h)

    def words(self):
        return [words for words, _, _ in self.heard]


class Conversation:
    """Who says what to whom, and who is to hear it."""

    def __init__(self, talker, devices, speaker):
        self.talker, self.devices, self.speaker = talker, devices, speaker
        self.account = speaker.account
        self.expected = {d.name: [] for d in devices}
        self.said = 0

    def note(self, words, entitled):
        for d in self.devices:
            how = entitled(d)
            if how is not None:
                self.expected[d.name].append((words, how))

    def to_all(self):
        words = "%d to all" % self.said
        self.talker.say(self.account, words)
        self.note(words, lambda d: False if d.priority >= 0 else True if d.copies else None)

    def to_one(self, device):
        words = "%d to %s" % (self.said, device.name)
        self.talker.say("%s/%s" % (self.account, device.name), words)
        self.note(words, lambda d: False if d is device else True if d.copies else None)

    def answer(self):
        """One of the devices speaks."""
        words = "%d from %s" % (self.said, self.speaker.name)
        self.talker.sync()
        self.speaker.client.say(self.talker.jid, words)
        self.talker.message()
        self.note(words, lambda d: None if d is self.speaker or not d.copies else True)

    def go_on(self, count):
        for _ in range(count):
            turn = self.said % (len(self.devices) + 2)
            if turn == 0:
                self.to_all()
            elif turn == 1:
                self.answer()
            else:
                self.to_one(self.devices[turn - 2])
            self.said += 1
        self.talker.sync()

    def check(self, device):
        wanted = self.expected[device.name]
        device.hear(len(wanted))
        assert device.words() == [words for words, _ in wanted], device.name
        assert [copied for _, _, copied in device.heard] == [copied for _, copied in wanted], device.name
        ids = [id for _, id, _ in device.heard]
        assert ids == sorted(set(ids)), device.name


def five(suite, account, workers=(None,) * 5):
    return [
        Device(suite, account, "awake", 5, worker=workers[0]),
        Device(suite, account, "plain", 0, copies=False, worker=workers[1]),
        Device(suite, account, "quiet", -1, inactive=True, worker=workers[2]),
        Device(suite, account, "detached", 0, managed=True, worker=workers[3]),
        Device(suite, account, "deaf", 1, managed=True, worker=workers[4]),
    ]


@pytest.mark.parametrize("killed", [(), ("router",), ("archived",), ("router", "archived", "authd", "router")])
def test_two_are_asleep(make_suite, killed):
    """The queue of the two that are asleep is full long before the end."""
    suite = make_suite(c2s={"queue-stanzas": 20})
    a, b = suite.accounts(2)
    devices = awake, plain, quiet, detached, deaf = five(suite, b)
    talk = Conversation(suite.login(a, "r", available=0), devices, awake)
    detached.client.close()
    talk.go_on(70)
    for name in killed:
        suite.kill(name)
        talk.go_on(35)
    states = {name: s["state"] for name, s in suite.sessions(b).items()}
    assert states[detached.client.jid] == states[deaf.client.jid] == "paused", states
    for device in (awake, plain, quiet):
        talk.check(device)
    detached.resume()
    for device in devices:
        talk.check(device)
    talk.go_on(14)
    for device in devices:
        talk.check(device)
    wait_until(lambda: suite.counter("archived", "spool") == 0)


def test_killed_while_fed(make_suite):
    """The router dies while those that were asleep draw what they have missed."""
    suite = make_suite(c2s={"queue-stanzas": 20})
    a, b = suite.accounts(2)
    devices = awake, plain, quiet, detached, deaf = five(suite, b)
    talk = Conversation(suite.login(a, "r", available=0), devices, awake)
    detached.client.close()
    talk.go_on(210)
    detached.resume()
    for name in ("router", "archived", "router"):
        for device in (detached, deaf):
            wanted = len(device.heard) + 25
            while len(device.heard) < wanted:
                device.take(device.client.next(20))
        suite.kill(name)
    talk.go_on(21)
    for device in devices:
        talk.check(device)


def test_c2sd_killed(make_suite):
    """Whose c2sd stays has everything once. The others begin anew: what they had may come again, as what it was."""
    suite = make_suite(c2s={"queue-stanzas": 20, "workers": 2})
    a, b = suite.accounts(2)
    devices = awake, plain, quiet, detached, deaf = five(suite, b, (0, 1, 1, 0, 0))
    talk = Conversation(suite.login(a, "r", available=0, worker=0), devices, awake)
    detached.client.close()
    talk.go_on(70)
    before = {}
    for device in (plain, quiet):
        device.end()
        before[device.name] = len(device.heard)
    suite.kill("c2sd.1")
    talk.go_on(14)
    for device in (plain, quiet):
        device.client.close()
        device.login()
        device.missed = len(talk.expected[device.name])
    talk.go_on(70)
    suite.kill("router")
    talk.go_on(14)
    detached.resume()
    for device in (awake, detached, deaf):
        talk.check(device)
    for device in (plain, quiet):
        device.end()
        wanted = [words for words, _ in talk.expected[device.name]]
        new = [e for e in device.heard[before[device.name]:] if e not in device.heard[:before[device.name]]]
        assert [words for words, _, _ in new if words in wanted[device.missed:]] == wanted[device.missed:]
        ids = {}
        for words, id, _ in device.heard:
            assert ids.setdefault(words, id) == id


def test_priority_rises(make_suite):
    """What it had as a copy does not come again when its priority rises, and is off the spool; what it had not comes."""
    suite = make_suite()
    a, b = suite.accounts(2)
    romeo = suite.login(a, "r", available=0)
    quiet = Device(suite, b, "quiet", -1, copies=False, managed=True)
    romeo.say(b, "before")
    romeo.sync()
    carbons(quiet.client)
    romeo.say(b, "copied")
    romeo.send("<message to='%s' type='chat'><body>private</body><no-copy xmlns='%s'/></message>" % (b, NS["hints"]))
    romeo.say(b, "copied as well")
    romeo.sync()
    copies = [quiet.client.message() for _ in range(2)]
    assert all(e.find(q("carbons", "received")) is not None for e in copies), text(copies[0])
    quiet.client.available(0)
    assert [body(quiet.client.message()) for _ in range(2)] == ["before", "private"]
    assert quiet.client.pending("message") == []
    romeo.say(b, "after")
    assert body(quiet.client.message()) == "after"
    # Nobody has acknowledged anything: should this session end, another one gets all of it.
    assert suite.counter("archived", "spool") == 5
    quiet.client.end()
    other = suite.login(b, "other", available=0)
    assert [body(other.message()) for _ in range(5)] == ["before", "copied", "private", "copied as well", "after"]


def test_copy_is_acknowledged(make_suite):
    """A message that was had as a copy leaves the spool when the copy is acknowledged, with a router that was
    restarted meanwhile."""
    suite = make_suite()
    a, b = suite.accounts(2)
    romeo = suite.login(a, "r", available=0)
    quiet = Device(suite, b, "quiet", -1, managed=True)
    romeo.say(b, "copied")
    romeo.sync()
    quiet.hear(1)
    romeo.say(b, "not acknowledged")
    romeo.sync()
    suite.kill("router")
    quiet.client.available(0)
    quiet.client.sync()
    assert [body(e) for e in quiet.client.pending("message") if e.find(q("carbons", "received")) is None] == []
    wait_until(lambda: suite.counter("archived", "spool") == 1)
