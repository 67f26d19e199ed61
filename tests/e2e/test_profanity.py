"""Profanity, a client for people: driven through a terminal of tmux, as one would use it.

Each instance has its own tmux server, home and XDG directories, and knows no other network than that to the suite."""

import os
import shutil
import subprocess

import pytest

from raw import body, q
from rooms import People, item, leave, rooms_suite  # noqa: F401
from suite import SLOW, wait_until
from test_carbons import carbons

pytestmark = [pytest.mark.skipif(not (shutil.which("profanity") and shutil.which("tmux")),
                                 reason="profanity or tmux is not installed"),
              pytest.mark.timeout(90 * SLOW)]

PREFERENCES = """[ui]
splash=false
vercheck=false
occupants=false
[notifications]
message=off
[logging]
chlog=true
dblog=on
[chatstates]
enabled=false
"""


class Profanity:
    """One instance, logged in as an account."""

    def __init__(self, suite, directory, account, resource, preferences=""):
        self.account, self.name = account, resource
        self.home = directory / resource
        (self.home / "config" / "profanity").mkdir(parents=True)
        (self.home / "data" / "profanity").mkdir(parents=True)
        (self.home / "config" / "profanity" / "profrc").write_text(PREFERENCES + preferences)
        self.environment = {
            "HOME": str(self.home), "XDG_CONFIG_HOME": str(self.home / "config"), "TERM": "screen",
            "XDG_DATA_HOME": str(self.home / "data"), "XDG_CACHE_HOME": str(self.home / "cache"),
            "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"], "TMUX_TMPDIR": str(self.home),
            "SSL_CERT_FILE": str(suite.ca), "no_proxy": "*",
        }
        self.tmux("-f", "/dev/null", "new-session", "-d", "-s", "p", "-x", "150", "-y", "50", "profanity -l DEBUG")
        try:
            self.until("Profanity", "Type '/help'", any_of=True)
            self.type("/connect %s/%s server 127.0.0.1 port %d tls force" % (account, resource, suite.port))
            self.until("Enter password")
            self.type(suite.password(account))
            self.until("logged in successfully")
        except BaseException:
            self.close()
            raise

    def tmux(self, *arguments):
        done = subprocess.run(["tmux", "-L", "p", *arguments], env=self.environment, capture_output=True, text=True,
                              timeout=20 * SLOW)
        return done.stdout

    def type(self, line):
        """Types a line and sends it."""
        self.tmux("send-keys", "-t", "p", "-l", line)
        self.tmux("send-keys", "-t", "p", "Enter")

    def screen(self):
        return self.tmux("capture-pane", "-p", "-t", "p")

    def until(self, *words, any_of=False, seconds=15):
        """Waits until the terminal shows all of these words, or any of them."""
        def shown():
            screen = self.screen()
            return (any if any_of else all)(w in screen for w in words) and screen
        try:
            return wait_until(shown, seconds * SLOW)
        except AssertionError:
            pytest.fail("%s does not show %s:\n%s" % (self.name, words, self.screen()))

    def close(self):
        self.tmux("kill-server")


@pytest.fixture
def profanity(tmp_path):
    running = []

    def start(suite, account, resource, preferences=""):
        running.append(Profanity(suite, tmp_path, account, resource, preferences))
        return running[-1]

    yield start
    for client in running:
        client.close()


def test_chat(suite, profanity):
    """Both ways, with another client and with another profanity."""
    a, b, c = suite.accounts(3)
    juliet = profanity(suite, a, "balcony")
    romeo = suite.login(b, "garden", available=0)
    juliet.type("/msg %s Wherefore art thou?" % b)
    assert body(romeo.message()) == "Wherefore art thou?"
    romeo.say(a, "Here & <there>")
    juliet.until("Wherefore art thou?", "Here & <there>")
    nurse = profanity(suite, c, "hall")
    juliet.type("/msg %s Nurse, come" % c)
    juliet.until("Nurse, come")
    nurse.until(a)
    nurse.type("/msg %s I come anon" % a)
    nurse.until("I come anon")
    juliet.until("I come anon")


def test_offline(suite, profanity):
    """What was said while it was away comes once."""
    a, b = suite.accounts(2)
    romeo = suite.login(b, "garden", available=0)
    for i in range(3):
        romeo.say(a, "while you were away %d" % i)
    romeo.sync()
    juliet = profanity(suite, a, "balcony")
    romeo.say(a, "now that you are here")
    juliet.type("/msg %s" % b)
    screen = juliet.until("now that you are here", *("while you were away %d" % i for i in range(3)))
    assert all(screen.count("while you were away %d" % i) == 1 for i in range(3)), screen


def test_history(suite, profanity):
    """What others of the account have said and heard is in the archive, and comes in order. profanity may show a
    page twice: it asks when the window opens, and when it learns that archives are there."""
    a, b = suite.accounts(2)
    romeo = suite.login(b, "garden", available=0)
    other = suite.login(a, "old", available=0)
    for i in range(3):
        romeo.say(a, "old words %d" % i)
        other.message()
        other.say(b, "old answer %d" % i)
        romeo.message()
    other.end()
    juliet = profanity(suite, a, "balcony")
    juliet.type("/mam on")
    juliet.until("Message Archive Management enabled")
    juliet.type("/msg %s" % b)
    words = [w % i for i in range(3) for w in ("old words %d", "old answer %d")]
    screen = juliet.until(*words)
    places = [screen.index(w) for w in words]
    assert places == sorted(places), screen
    juliet.type("after all that")
    assert body(romeo.message()) == "after all that"
    juliet.until("after all that")


def test_carbons(suite, profanity):
    """Two of an account: each shows what the other says, and what only the other is told."""
    a, b = suite.accounts(2)
    one = profanity(suite, a, "one")
    one.type("/carbons on")
    two = carbons(suite.login(a, "two", available=0))
    romeo = suite.login(b, "garden", available=0)
    wait_until(lambda: suite.sessions(a)[a + "/one"])
    one.type("/msg %s first words" % b)
    assert body(romeo.message()) == "first words"
    assert body(two.message().find(".//" + q("client", "message"))) == "first words"
    two.say(b, "said by the other")
    assert body(romeo.message()) == "said by the other"
    romeo.say(a + "/two", "for the other alone")
    assert body(two.message()) == "for the other alone"
    one.until("first words", "said by the other", "for the other alone")


def test_room(rooms_suite, profanity):
    """It enters a room, sees the history and the subject, and both ways of talking, others coming and going."""
    people = People(rooms_suite)
    room = people.room(roomname="A cave", changesubject=True)
    owner = people.owner
    owner.send("<message type='groupchat' to='%s'><subject>Spells of the night</subject></message>" % room)
    for i in range(3):
        owner.say(room, "said before %d" % i, "groupchat")
    people.calm(owner)
    account = rooms_suite.account()
    juliet = profanity(rooms_suite, account, "balcony")
    juliet.type("/presence room all")
    juliet.type("/join %s nick juliet" % room)
    screen = juliet.until("Spells of the night", *("said before %d" % i for i in range(3)))
    assert all(screen.count("said before %d" % i) == 1 for i in range(3)), screen
    entered = owner.wait(lambda e: e.get("from") == room + "/juliet")
    assert item(entered).get("role") == "participant"
    owner.say(room, "welcome & <good evening>", "groupchat")
    juliet.until("welcome & <good evening>")
    juliet.type("double, double toil and trouble")
    message = owner.wait(lambda e: e.get("from") == room + "/juliet" and body(e))
    assert body(message) == "double, double toil and trouble" and message.get("type") == "groupchat"
    juliet.until("double, double toil and trouble")
    third = people.enter(room, "third")
    juliet.until("third has joined the room")
    leave(third, room, "third")
    juliet.until("third has left the room")
    juliet.type('/subject set "A new spell"')
    assert owner.wait(lambda e: e.findtext(q("client", "subject")) == "A new spell")
    juliet.until("A new spell")
    juliet.type("/close")
    owner.wait(lambda e: e.get("from") == room + "/juliet" and e.get("type") == "unavailable")
