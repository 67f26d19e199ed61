"""What an administrator of external components does and sees: sections that come and go, addresses that are
wrong, components that are busy, do not read, or die."""

import socket
import subprocess
import threading
import time

import pytest

from raw import Closed, body, condition, text
from suite import BUILD, SLOW, CommandFailed, Suite, wait_until
from test_component import Component

ONE, TWO = "one.localhost", "two.localhost"
SECRET = "s3cret"


@pytest.fixture
def hosting():
    with Suite(components={ONE: {"secret": SECRET}, TWO: {"secret": SECRET}},
               s2s={"queue-stanzas": "50", "queue-bytes": "64K"}) as suite:
        yield suite


def component(suite, domain=ONE, **options):
    return Component(suite, domain, SECRET, **options).connect()


def client(suite):
    return suite.login(suite.account(), "balcony", available=0)


def waiting(suite, domain=ONE):
    return sum(r["messages"] for r in suite.ctl("queue", "list") if r["account"] == domain)


def reload(suite):
    """s2sd and authd take such a section when they start."""
    suite.write_config()
    old = {name: suite.pid(name) for name in ("s2sd", "authd")}
    suite.ctl("reload")
    wait_until(lambda: all(suite.pid(name) not in (None, pid) for name, pid in old.items()))
    for name in old:
        suite.killed[name] = suite.killed.get(name, 0) + 1


# -- sections


def test_sections_come_and_go(hosting):
    juliet = client(hosting)
    answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to="new.localhost", seconds=20 * SLOW)
    assert answer.get("type") == "error"
    old = component(hosting)
    hosting.components["new.localhost"] = {"secret": SECRET}
    reload(hosting)
    new, old = component(hosting, "new.localhost"), component(hosting)
    juliet.say("bot@new.localhost", "welcome")
    juliet.say("bot@" + ONE, "still here")
    assert body(new.message()) == "welcome" and body(old.message()) == "still here"
    del hosting.components["new.localhost"]
    reload(hosting)
    gone = Component(hosting, "new.localhost", SECRET)
    gone.begin()
    assert gone.stream_error() == "host-unknown"
    juliet.sync()  # the client has noticed nothing of all this


def test_a_new_secret(hosting):
    hosting.components[ONE] = {"secret": "another"}
    hosting.write_config()
    old = hosting.pid("authd")
    hosting.ctl("reload")
    wait_until(lambda: hosting.pid("authd") not in (None, old))
    hosting.killed["authd"] = hosting.killed.get("authd", 0) + 1
    assert Component(hosting, ONE, SECRET).shake().stream_error() == "not-authorized"
    Component(hosting, ONE, "another").connect()


@pytest.mark.parametrize("options, what", [
    ({"s2s": {"listen-component": ["127.0.0.1"]}}, "listen-component"),
    ({"s2s": {"listen-component": ["nowhere.invalid:5347"]}}, "listen-component"),
    ({"components": {"localhost": {"secret": SECRET}}}, "localhost"),
    ({"components": {"not a domain": {"secret": SECRET}}}, "not a domain"),
])
def test_errors_in_the_file(hosting, options, what):
    """The file is refused with a word about the place, and what runs goes on."""
    one = component(hosting)
    hosting.options["s2s"].update(options.get("s2s", {}))
    hosting.components.update(options.get("components", {}))
    hosting.write_config()
    done = subprocess.run([BUILD / "bin/aldisd", "-n", "-c", hosting.config], capture_output=True, text=True,
                          env=hosting.environment())
    assert done.returncode != 0 and what in done.stderr, done.stderr
    with pytest.raises(CommandFailed):
        hosting.ctl("reload")
    client(hosting).say("bot@" + ONE, "goes on")
    assert body(one.message()) == "goes on"


def test_an_address_that_is_taken():
    """The suite does not start, and says why."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        suite = Suite(components={ONE: {"secret": SECRET}},
                      s2s={"listen-component": ["127.0.0.1:%d" % other.getsockname()[1]]})
        try:
            done = subprocess.run([suite.programs / "aldisd", "-n", "-c", suite.config], capture_output=True,
                                  text=True, env=suite.environment())
            assert done.returncode == 0, done.stderr
            done = subprocess.run([suite.programs / "aldisd", "-f", "-c", suite.config], capture_output=True,
                                  text=True, env=suite.environment(), timeout=30 * SLOW)
            assert done.returncode != 0
            assert str(other.getsockname()[1]) in done.stderr + suite.log_text(), done.stderr
        finally:
            suite.remove()


# -- load


class Reader(threading.Thread):
    """Reads bodies of a component's messages until there are so many, or its connection ends."""

    def __init__(self, component, count):
        super().__init__(daemon=True)
        self.component, self.count = component, count
        self.bodies = []
        self.start()

    def run(self):
        try:
            while len(self.bodies) < self.count:
                self.bodies.append(body(self.component.message(30 * SLOW)))
        except (Closed, OSError):
            pass

    def result(self):
        self.join(60 * SLOW)
        return self.bodies


def numbers(bodies):
    return [int(b) for b in bodies]


@pytest.mark.timeout(120)
def test_two_at_once(hosting):
    """Both get all, each in its order, with more under way than their queues hold."""
    count = 1000
    readers = [Reader(component(hosting, domain), count) for domain in (ONE, TWO)]
    juliet = client(hosting)
    for number in range(count):
        for domain in (ONE, TWO):
            juliet.say("bot@" + domain, str(number))
    juliet.sync(60 * SLOW)
    for reader in readers:
        assert numbers(reader.result()) == list(range(count))
    wait_until(lambda: waiting(hosting, ONE) + waiting(hosting, TWO) == 0, 20 * SLOW)


@pytest.mark.timeout(120)
def test_one_to_the_other(hosting):
    one, two = component(hosting), component(hosting, TWO)
    reader = Reader(two, 500)
    for number in range(500):
        one.send("<message from='a@%s' to='b@%s' type='chat'><body>%d</body></message>" % (ONE, TWO, number))
    assert numbers(reader.result()) == list(range(500))


@pytest.mark.timeout(180)
def test_one_that_does_not_read(hosting):
    """What it does not take waits on the spool; the others go on, and it gets all of it in the end."""
    count, size = 400, 20000
    lazy, busy = component(hosting), component(hosting, TWO)
    before = {name: hosting.memory(name) for name in ("s2sd", "router")}
    juliet = client(hosting)
    for number in range(count):
        juliet.say("bot@" + ONE, "%d %s" % (number, "x" * size))
    juliet.sync(60 * SLOW)
    assert waiting(hosting) > 0
    juliet.say("bot@" + TWO, "quick")
    assert body(busy.message()) == "quick"
    for name, old in before.items():
        assert hosting.memory(name) - old < (400 if SLOW > 1 else 16) << 20, name
    assert hosting.counter("s2sd", "queues-full") > 0
    found = [int(body(lazy.message(30 * SLOW)).split()[0]) for _ in range(count)]
    assert found == list(range(count))
    wait_until(lambda: waiting(hosting) == 0, 20 * SLOW)


@pytest.mark.timeout(120)
def test_flood_of_a_component(hosting):
    """It sends more than is taken at once: it waits, and all of it arrives in order."""
    one = component(hosting)
    there = client(hosting)
    count = 3000
    data = "".join("<message from='a@%s' to='%s' type='chat'><body>%d</body></message>" % (
        ONE, there.jid, number) for number in range(count))
    sender = threading.Thread(target=one.send, args=(data, 60 * SLOW), daemon=True)
    sender.start()
    found = [int(body(there.message(30 * SLOW))) for _ in range(count)]
    assert found == list(range(count))
    sender.join(10 * SLOW)


@pytest.mark.timeout(120)
def test_flood_while_archived_is_away(hosting):
    """Nothing of it is lost when what stores it dies meanwhile."""
    one = component(hosting)
    there = client(hosting)
    for number in range(600):
        one.send("<message from='a@%s' to='%s' type='chat'><body>%d</body></message>" % (ONE, there.jid, number))
        if number == 200:
            hosting.kill("archived")
        if number == 400:
            hosting.kill("router")
    found = [int(body(there.message(30 * SLOW))) for _ in range(600)]
    assert found == list(range(600))


@pytest.mark.timeout(120)
def test_killed_in_mid_flow(hosting):
    """One that dies loses what its kernel had, which nobody can know of; what is behind comes to the next one,
    in order and once."""
    count = 1500
    first = component(hosting)
    reader = Reader(first, 300)
    juliet = client(hosting)
    for number in range(count):
        juliet.say("bot@" + ONE, str(number))
        if number == 700:
            before = numbers(reader.result())
            first.abort()
    juliet.sync(60 * SLOW)
    assert before == list(range(300))
    second = component(hosting)
    after = []
    while not after or after[-1] != count - 1:
        after.append(int(body(second.message(30 * SLOW))))
    assert after == list(range(after[0], count)), "a hole, or twice"
    assert 0 < after[0] <= 702
    wait_until(lambda: waiting(hosting) == 0, 20 * SLOW)


@pytest.mark.timeout(120)
def test_s2sd_killed_in_mid_flow(hosting):
    """Nothing is lost: what was not written before comes again, some of it twice perhaps."""
    count = 600
    first = component(hosting)
    juliet = client(hosting)
    reader = Reader(first, count)
    for number in range(count):
        juliet.say("bot@" + ONE, str(number))
        if number == 300:
            hosting.kill("s2sd")
    juliet.sync(60 * SLOW)
    before = numbers(reader.result())
    second = component(hosting)
    after = []
    while not after or after[-1] != count - 1:
        after.append(int(body(second.message(30 * SLOW))))
    assert before == list(range(len(before)))
    assert after == list(range(after[0], count)), text(second.elements[0]) if second.elements else after
    assert after[0] <= len(before)


def test_requests_to_one_that_dies(hosting):
    """Who asks is not left waiting."""
    one = component(hosting)
    juliet = client(hosting)
    juliet.send("<iq type='get' id='q' to='%s'><ping xmlns='urn:xmpp:ping'/></iq>" % ONE)
    one.wait(lambda e: e.get("id") == "q")
    one.abort()
    time.sleep(0.2)
    answer = juliet.iq("get", "<ping xmlns='urn:xmpp:ping'/>", to=ONE)
    assert condition(answer) == "remote-server-timeout", text(answer)
