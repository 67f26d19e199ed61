"""The authority of a certificate is asked about it (RFC 6960), in both directions, when ocsp-fetch says so.

The responder is that of openssl; what that does not do wrong is done by a small HTTP server. Each case has a domain
of its own, for which the configuration says whom to ask, and how much depends on it.
"""

import contextlib
import http.server
import itertools
import subprocess
import threading
import time
from types import SimpleNamespace

import pytest
from cryptography.x509 import ocsp

import servers
from peer import EXTERNAL, Caller, Listener
from raw import NS, Closed, condition, q
from servers import Authority, Server, authority, issue
from suite import SLOW, die_with_parent, free_ports, wait_until
from test_peer_dns import load, pick, response

TRY, REQUIRE = "try", "require"
ROWS = [
    # case, what "try" makes of it, what "require" does, a word of the reason in the history
    ("good", "ok", "ok", "good for"),
    ("revoked", "failed", "failed", "revoked"),
    ("unknown", "failed", "failed", "does not know"),
    ("closed", "skipped", "failed", "no response: "),
    ("nowhere", "skipped", "failed", "no response: "),
    ("slow", "skipped", "failed", "no response: out of time"),
    ("big", "skipped", "failed", "no response: the answer is too big"),
    ("headers", "skipped", "failed", "no response: the headers of the answer are too big"),
    ("redirect", "skipped", "failed", "no response: HTTP status 302"),
    ("html", "skipped", "failed", "no response: the answer is not of OCSP"),
    ("empty", "skipped", "failed", "no response: the answer is empty"),
    ("short", "skipped", "failed", "no response: "),
    ("nonsense", "skipped", "failed", "malformed"),
    ("stale", "skipped", "failed", "out of date"),
    ("another", "skipped", "failed", "another certificate"),
    ("forged", "skipped", "failed", "not signed by"),
]
SLOW_CASES = ("slow",)


def domain_of(case, mode):
    return "%s.%s.test" % (case, mode)


class Answers(http.server.BaseHTTPRequestHandler):
    """What responders do wrong, by the path: /CASE/DOMAIN."""

    def do_POST(self):
        _, case, domain = self.path.split("/")
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((domain, self.headers["Content-Type"], self.headers["Host"], asked))
        getattr(self, "answer_" + case)(domain)

    def answer(self, body, status=200, kind="application/ocsp-response", length=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_slow(self, domain):
        self.answer(b"0", length=10)
        self.server.over.wait(60)

    def answer_big(self, domain):
        self.answer(b"0" * 70000)

    def answer_headers(self, domain):
        with contextlib.suppress(OSError):
            for _ in range(100):
                self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: %s\r\n\r\n" % (b"x" * 1000))
            self.answer(response(issue(domain)))

    def answer_redirect(self, domain):
        self.answer(b"", 302, Location="/fine/" + domain)

    def answer_html(self, domain):
        self.answer(response(issue(domain)), kind="text/html")

    def answer_empty(self, domain):
        self.answer(b"")

    def answer_short(self, domain):
        self.answer(response(issue(domain)), length=20000)

    def answer_nonsense(self, domain):
        self.answer(b"\x30\x03\x0a\x01")

    def answer_stale(self, domain):
        self.answer(response(issue(domain), days=-2))

    def answer_another(self, domain):
        self.answer(response(issue("another.test")))

    def answer_fine(self, domain):
        self.answer(response(issue(domain, responder=self.server.url("fine", domain))))

    def log_message(self, *_):
        pass


class Http(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.asked = []
        self.over = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, case, domain):
        """By name, so that a resolver is needed."""
        return "http://localhost:%d/%s/%s" % (self.server_port, case, domain)

    def close(self):
        self.over.set()
        self.shutdown()
        self.server_close()


@contextlib.contextmanager
def openssl_responder(entries, signer):
    """openssl ocsp, on a port: entries are status and paths of certificates; who is not among them is unknown."""
    number = next(numbers)
    index = servers.DIRECTORY / ("index-%d" % number)
    index.write_text("".join("%s\t350101000000Z\t%s\t%040X\tunknown\t/CN=%d\n" % (
        status, "250101000000Z" if status == "R" else "", load(paths).serial_number, n)
        for n, (status, paths) in enumerate(entries)))
    (port,) = free_ports(1)
    path = servers.DIRECTORY / ("responder-%d.log" % number)
    with open(path, "wb") as log:
        process = subprocess.Popen(
            ["openssl", "ocsp", "-index", str(index), "-CA", authority.path, "-rsigner", signer.path, "-rkey",
             signer.key_path, "-port", str(port), "-ndays", "2"], stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, preexec_fn=die_with_parent)
    try:
        wait_until(lambda: b"waiting for" in path.read_bytes(), message="openssl is ready")
        yield "http://127.0.0.1:%d/" % port
    finally:
        process.kill()
        process.wait()


numbers = itertools.count()


@pytest.fixture(scope="module")
def world():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(Listener())
        http_server = Http()
        stack.callback(http_server.close)
        modes = (TRY, REQUIRE)
        real = stack.enter_context(openssl_responder(
            [(status, issue(domain_of(case, mode))) for case, status in (("good", "V"), ("revoked", "R"))
             for mode in modes], authority))
        forged = stack.enter_context(openssl_responder(
            [("V", issue(domain_of("forged", mode))) for mode in modes], Authority("Forger")))
        (closed,) = free_ports(1)
        urls = {"good": real, "revoked": real, "unknown": real, "forged": forged,
                "closed": "http://127.0.0.1:%d/" % closed, "nowhere": "http://nowhere.invalid/"}
        here = {"address": ["127.0.0.1:%d" % listener.port]}
        peers = {domain_of(case, mode): {"ocsp-fetch": mode, **here, "ocsp-responder": urls.get(case) or
                                         http_server.url(case, domain_of(case, mode))}
                 for case, *_ in ROWS for mode in modes}
        peers.update({name: here for name in ("named.test", "mute.test", "strange.test", "wrong.test", "good.off.test",
                                              "stapled.test")})
        peers["good.off.test"] = {"ocsp-fetch": "off", "ocsp-responder": real, **here}
        suite = stack.enter_context(Server("a.test", peers=peers, s2s={"ocsp-fetch": "require", "dnssec": False}))
        yield SimpleNamespace(server=suite, juliet=suite.login(suite.account(), "balcony"), listener=listener,
                              http=http_server)
        suite.check()


def newest(world, domain, direction):
    return next(a for a in world.server.ctl("peer", "show", domain)["attempts"] if a["direction"] == direction)["steps"]


def outgoing(world, domain, certificate, staple=None):
    """Whether our stream to a domain comes about, with its steps; what the sender is told otherwise."""
    world.juliet.send("<iq type='get' id='x-%s' to='%s'><ping xmlns='%s'/></iq>" % (domain, domain, NS["ping"]))
    callee = world.listener.accept()
    callee.secure(certificate, features=EXTERNAL, staple=staple)
    with contextlib.suppress(Closed, TimeoutError, OSError):
        callee.accept_external()
        callee.wait(lambda e: e.get("id") == "x-" + domain)
        steps = newest(world, domain, "out")
        callee.close()
        return True, steps
    answer = world.juliet.wait(lambda e: e.get("id") == "x-" + domain, 20 * SLOW)
    assert condition(answer) == "remote-server-timeout"
    return False, newest(world, domain, "out")


def incoming(world, domain, certificate):
    """The same of its stream to us."""
    caller = Caller(world.server, domain, "a.test")
    try:
        caller.secure(certificate)
    except Closed as reason:
        assert "not-authorized" in str(reason)
        return False, newest(world, domain, "in")
    assert caller.features.find(q("sasl", "mechanisms")) is not None
    caller.external()
    steps = newest(world, domain, "in")
    caller.close()
    return True, steps


@pytest.mark.parametrize("mode", [TRY, REQUIRE])
@pytest.mark.parametrize("case, tried, required, reason", ROWS)
def test_answers(world, case, tried, required, reason, mode):
    domain = domain_of(case, mode)
    verdict = tried if mode == TRY else required
    directions = (outgoing, incoming)
    if case in SLOW_CASES:
        directions = directions[:1] if mode == TRY else directions[1:]
    for direction in directions:
        good, steps = direction(world, domain, issue(domain))
        found = pick(steps, "certificate", check="ocsp")[0]
        assert found["verdict"] == verdict and reason in found["reason"], steps
        assert good == (verdict != "failed"), steps
        asked = pick(steps, "ocsp")
        assert len(asked) in (1, 2) and asked[-1]["verdict"] == (
            "failed" if found["reason"].startswith("no response") else "ok"), steps
        assert asked[-1].get("from") == "memory" or asked[0]["from"] == "configuration", steps


def test_the_url_of_the_certificate(world):
    """It is asked at that once; then the answer is known until it is out of date."""
    url = world.http.url("fine", "named.test")
    certificate = issue("named.test", responder=url)
    good, steps = outgoing(world, "named.test", certificate)
    assert good, steps
    assert [(s.get("url"), s["from"]) for s in pick(steps, "ocsp")] == [(url, "certificate"), (None, "responder")]
    good, steps = incoming(world, "named.test", certificate)
    assert good and [s["from"] for s in pick(steps, "ocsp")] == ["memory"], steps
    asked = [a for a in world.http.asked if a[0] == "named.test"]
    assert [(kind, host) for _, kind, host, _ in asked] == [
        ("application/ocsp-request", "localhost:%d" % world.http.server_port)]
    found = ocsp.load_der_ocsp_request(asked[0][3])
    assert found.serial_number == load(certificate).serial_number


def test_those_who_ask_the_same_share_a_request(world):
    domain = domain_of("slow", TRY)
    before = len([a for a in world.http.asked if a[0] == domain])
    callers = [Caller(world.server, domain, "a.test") for _ in range(5)]
    certificate, errors = issue(domain), []

    def secure(caller):
        try:
            caller.secure(certificate)
        except Exception as reason:  # it is asserted below
            errors.append(reason)
    threads = [threading.Thread(target=secure, args=(c,)) for c in callers]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    world.juliet.sync()  # the process is not held up
    assert time.monotonic() - began < 4 * SLOW
    for thread in threads:
        thread.join()
    assert not errors
    assert len([a for a in world.http.asked if a[0] == domain]) == before + 1
    for caller in callers:
        caller.close()


def test_who_goes_away_while_its_authority_is_asked(world):
    domain = domain_of("slow", TRY)
    before = len([a for a in world.http.asked if a[0] == domain])
    caller = Caller(world.server, domain, "a.test")
    caller.begin()
    caller.send("<starttls xmlns='%s'/>" % NS["tls"])
    caller.next()
    caller.start_tls(issue(domain), True, sni="a.test")
    caller.server_header(domain, "a.test")
    wait_until(lambda: len([a for a in world.http.asked if a[0] == domain]) == before + 1)
    caller.close()
    wait_until(lambda: world.server.counter("s2sd", "ocsp-asking") == 0, 8 * SLOW)
    assert incoming(world, domain_of("good", TRY), issue(domain_of("good", TRY)))[0]


def test_no_responder_is_named(world):
    good, steps = outgoing(world, "mute.test", issue("mute.test"))
    assert not good
    found = pick(steps, "certificate", check="ocsp")[0]
    assert found["verdict"] == "failed" and "names no responder" in found["reason"], steps


@pytest.mark.parametrize("domain", ["strange.test", "wrong.test"])
def test_nobody_is_asked_for_strangers(world, domain):
    """What is in a certificate that is not good anyway, by its authority or its name, makes us send nothing."""
    with Listener() as trap:
        url = "http://127.0.0.1:%d/" % trap.port
        certificate = Authority("Stranger").issue(domain, responder=url) if domain == "strange.test" \
            else issue("elsewhere.test", responder=url)
        for direction in (outgoing, incoming):
            good, steps = direction(world, domain, certificate)
            assert not good and not pick(steps, "ocsp"), steps
        with pytest.raises(TimeoutError):
            trap.accept(0.2)


def test_a_stapled_response_is_enough(world):
    certificate = issue("stapled.test")
    good, steps = outgoing(world, "stapled.test", certificate, staple=response(certificate))
    assert good and not pick(steps, "ocsp"), steps


def test_off_for_one_peer(world):
    good, steps = outgoing(world, "good.off.test", issue("good.off.test"))
    assert good and not pick(steps, "ocsp"), steps
    assert pick(steps, "certificate", check="ocsp")[0]["verdict"] == "skipped"


def test_off_by_default():
    with Listener() as trap, Listener() as listener:
        certificate = issue("b.test", responder="http://127.0.0.1:%d/" % trap.port)
        with Server("a.test", peers={"b.test": {"address": ["127.0.0.1:%d" % listener.port]}}) as suite:
            here = SimpleNamespace(server=suite, juliet=suite.login(suite.account(), "balcony"), listener=listener)
            for direction in (outgoing, incoming):
                good, steps = direction(here, "b.test", certificate)
                assert good and not pick(steps, "ocsp"), steps
        with pytest.raises(TimeoutError):
            trap.accept(0.2)
