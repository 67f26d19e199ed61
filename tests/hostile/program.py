"""program.py: plays aldisd for one program of the suite.

    with Program("ROUTER", directory) as router:
        link = router.link("C2SD", 0, incarnation=11)     # our end of a link that it was given
        link.send(Frame("HELLO"))
        link.expect("WELCOME")
        router.settle()                                   # all that was sent has been dealt with
        router.log(since)                                 # what it has said on stderr

The program gets its control socket as descriptor 3, its slice of the configuration (option.def with its
defaults) in a sealed memfd, its sockets and links, and GO. Every wait has an end.
"""

import base64
import contextlib
import fcntl
import os
import re
import select
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

from frames import MESSAGE, PROCESS_NAMES, ROLES, ROLE_TEXTS, Frame, process_message, read_frame, source

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "e2e"))

from suite import ALARMS, BUILD, SANITIZED, SLOW, die_with_parent, make_certificate  # noqa: E402

WAIT = 10 * SLOW
DOMAIN = "localhost"
# What no program may say, whatever it is sent: the e2e tests' alarms but for the refusals.
FATAL = re.compile(re.sub(r"\|(frame refused|link malformed)", "", ALARMS.pattern), re.I)


class Dropped(Exception):
    """The other side has closed the link."""


# -- configuration ----------------------------------------------------------------------------------------

COMPONENT, SECRET = "echo.localhost", "s3cret"
# Sections with a title that is a domain; of peers there is none.
TITLES = {"domain": DOMAIN, "component": COMPONENT}
CREDENTIALS = {"certificate": 0, "key": 1}


def config_slice(role, directory):
    """The lines that aldisd would hand to this role."""
    everybody = source("option.def")
    lines = ["process\t\tuser\t", "process\t\tdirectory\t%s" % directory]
    for section, name, kind, default, roles in re.findall(
            r'OPTION\("([^"]*)", "([^"]*)", (\w+), "([^"]*)", ([^,]+),', everybody):
        if (role not in roles and "EVERYBODY" not in roles) or section == "peer":
            continue
        values = default.split() if kind == "LIST" else [default]
        if name in CREDENTIALS:
            path = make_certificate(DOMAIN)[CREDENTIALS[name]]
            values = [base64.b64encode(Path(path).read_bytes()).decode()]
        title = TITLES.get(section, "")
        if (section, name) == ("component", "secret"):
            values = [SECRET]
        if (section, name) == ("domain", "registration"):
            values = ["yes"]
        lines += ["%s\t%s\t%s\t%s" % (section, title, name, value) for value in values]
    return "".join(line + "\n" for line in lines).encode()


def sealed(data):
    fd = os.memfd_create("config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, data)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE |
                fcntl.F_SEAL_SEAL)
    return fd


# -- links ------------------------------------------------------------------------------------------------


class Link:
    """Our end of a link: a stream of frames."""

    def __init__(self, sock, role="NONE", index=0, incarnation=0):
        self.socket, self.role, self.index, self.incarnation = sock, role, index, incarnation
        self.data = b""
        self.frames = []
        self.closed = False

    def send(self, *frames):
        self.send_bytes(b"".join(f.bytes() for f in frames))

    def send_bytes(self, data):
        """Sends bytes as they are; Dropped when the other side has closed the link."""
        end = time.monotonic() + WAIT
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view):]
            except BlockingIOError:
                assert time.monotonic() < end, "the link is not read"
                select.select([], [self.socket], [], 0.1)
            except OSError:
                self.closed = True
                raise Dropped from None

    def offer(self, data, seconds):
        """Sends what is taken within a time; returns how many bytes that was."""
        end = time.monotonic() + seconds
        sent = 0
        while sent < len(data) and time.monotonic() < end:
            try:
                sent += self.socket.send(memoryview(data)[sent:sent + (1 << 20)])
            except BlockingIOError:
                select.select([], [self.socket], [], 0.05)
            except OSError:
                self.closed = True
                break
        return sent

    def pump(self):
        """Reads what is there."""
        while not self.closed:
            try:
                more = self.socket.recv(1 << 20)
            except BlockingIOError:
                break
            except OSError:
                more = b""
            self.closed = not more
            self.data += more
        at = 0
        while True:
            frame, at = read_frame(self.data, at)
            if frame is None:
                break
            self.frames.append(frame)
        self.data = self.data[at:]

    def next(self, seconds=WAIT):
        """The next frame."""
        end = time.monotonic() + seconds
        while True:
            if not self.frames:
                self.pump()
            if self.frames:
                return self.frames.pop(0)
            if self.closed:
                raise Dropped
            left = end - time.monotonic()
            assert left > 0, "no frame for %s" % self.role
            select.select([self.socket], [], [], left)

    def expect(self, type, seconds=WAIT):
        """The next frame, which must be of this type."""
        frame = self.next(seconds)
        assert frame.type == type, "%r instead of %s" % (frame, type)
        return frame

    def unread(self):
        """Bytes that the other side has not read."""
        return struct.unpack("i", fcntl.ioctl(self.socket, termios.TIOCOUTQ, b"\0" * 4))[0]

    def await_closed(self, seconds=WAIT):
        end = time.monotonic() + seconds
        while not self.closed:
            self.pump()
            left = end - time.monotonic()
            assert self.closed or left > 0, "the link stays open"
            if not self.closed:
                select.select([self.socket], [], [], left)

    def close(self):
        self.socket.close()
        self.closed = True


def pair():
    """The two ends of a link, as aldisd makes them."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for end in (ours, theirs):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return ours, theirs


class Words:
    """What a program says on stderr: a pipe that is always read, so that it never waits for us. (A file
    would not do: most programs may not write one.)"""

    def __init__(self):
        self.fd, self.theirs = os.pipe()
        os.set_blocking(self.fd, False)
        self.data = b""
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def started(self):
        os.close(self.theirs)
        self.thread.start()

    def read(self):
        """Takes what is there; false at the end."""
        with self.lock:
            while True:
                try:
                    more = os.read(self.fd, 65536)
                except BlockingIOError:
                    return True
                if not more:
                    return False
                self.data += more

    def run(self):
        while True:
            select.select([self.fd], [], [])
            if not self.read():
                break

    def end(self):
        self.thread.join(WAIT)
        os.close(self.fd)


# -- the program ------------------------------------------------------------------------------------------


class Program:
    """One program under our supervision."""

    def __init__(self, role, directory, incarnation=1):
        self.role, self.directory, self.incarnation = role, Path(directory), incarnation
        self.path = BUILD / "bin" / ("aldis-" + ROLE_TEXTS[role])
        self.words = Words()
        self.listeners = []
        self.links = []
        self.clients = []
        self.clerk = None

    def __enter__(self):
        state = self.directory / "state"
        state.mkdir(parents=True, exist_ok=True)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", 'exec 3<&%d %d<&-; exec "$0"' % (theirs.fileno(), theirs.fileno()),
             str(self.path)], stdin=subprocess.DEVNULL, stdout=self.words.theirs,
            stderr=self.words.theirs, pass_fds=[theirs.fileno()], start_new_session=True,
            preexec_fn=die_with_parent,
            env={"PATH": "/usr/bin:/bin", "ASAN_OPTIONS": "detect_leaks=0:handle_abort=0",
                 "UBSAN_OPTIONS": "print_stacktrace=1"})
        self.words.started()
        theirs.close()
        fd = sealed(config_slice(self.role, state))
        self.tell("CONFIG", self.role, incarnation=self.incarnation, fd=fd)
        os.close(fd)
        return self

    def __exit__(self, *failure):
        for link in self.links + self.clients:
            link.close()
        for listener in self.listeners:
            listener.close()
        self.control.close()
        try:
            self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.words.end()

    def tell(self, what, role="NONE", index=0, incarnation=0, name=b"", fd=None):
        message = process_message(what, role, index, incarnation, name)
        socket.send_fds(self.control, [message], [] if fd is None else [fd])

    def hear(self, what, seconds=WAIT):
        """The next message of this kind from the program; others are thrown away."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.control], [], [], left)[0], \
                "no %s\n%s" % (what, self.log())
            data = self.control.recv(4096)
            assert data, "the program has ended\n" + self.log()
            found = MESSAGE.unpack(data)
            if PROCESS_NAMES[found[0]] == what:
                return ROLES[found[1]], found[2], found[3]

    def listen(self, name, listener):
        self.tell("LISTEN", name=name.encode(), fd=listener.fileno())
        self.listeners.append(listener)

    def link(self, role, index=0, incarnation=1):
        """Gives the program a link to a process, which we play."""
        ours, theirs = pair()
        self.tell("LINK", role, index, incarnation, fd=theirs.fileno())
        theirs.close()
        link = Link(ours, role, index, incarnation)
        self.links = [old for old in self.links if not old.closed] + [link]
        return link

    def go(self):
        self.tell("GO")

    # -- what it says and does

    def log(self, since=0):
        self.words.read()
        return self.words.data[since:].decode(errors="replace")

    def log_size(self):
        self.words.read()
        return len(self.words.data)

    def memory(self):
        """Resident bytes."""
        text = Path("/proc/%d/status" % self.process.pid).read_text()
        return int(re.search(r"^VmRSS:\s+(\d+) kB", text, re.M).group(1)) * 1024

    def check(self):
        """It lives, answers, and has not said what it must never say."""
        assert self.process.poll() is None, "status %s\n%s" % (self.process.returncode, self.log()[-6000:])
        self.tell("PING")
        self.hear("PONG")
        bad = [line for line in self.log().splitlines() if FATAL.search(line)]
        assert not bad, "\n".join(bad)

    def settle(self, *links):
        """Returns when the program has read what these links have sent and has dealt with it."""
        end = time.monotonic() + WAIT
        for link in links:
            with contextlib.suppress(OSError):
                while not link.closed and link.unread():
                    assert time.monotonic() < end, "%s is not read" % link.role
                    time.sleep(0.001)
        for _ in range(2):  # the second answer comes after all output of the first one's iteration
            self.round_trip()

    def round_trip(self):
        """Asks something that is answered at the end of an iteration, and waits for the answer."""
        if self.clerk is None:
            self.clerk = self.aldisctl()
        self.clerk.send(Frame("CONTROL", number=1, text="status"))
        self.clerk.expect("CONTROL_REPLY")

    def aldisctl(self):
        """A connection to the control socket, as aldisctl makes it."""
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.connect(str(self.directory / "control"))
        client.setblocking(False)
        link = Link(client)
        self.clients.append(link)
        return link


def control_listener(directory):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(Path(directory) / "control"))
    listener.listen(64)
    listener.setblocking(False)
    return listener
