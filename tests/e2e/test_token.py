"""Private keys in a PKCS#11 token (RFC 7512), that of SoftHSM: opened by authd at its start, used when it
is locked down."""

import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from memory import Needles, readable
from suite import BUILD, SLOW, Broken, Suite, make_certificate

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "482913"
KINDS = ["rsa", "ec", "p384", "ed25519"]


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, "%s: %s" % (words, done.stdout + done.stderr)
    return done.stdout


class Token:
    """A token named "aldis" in a directory of its own, with a key of each kind."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="aldis-token-"))
        self.files = self.directory / "tokens"
        self.files.mkdir()
        self.conf = self.directory / "softhsm2.conf"
        self.conf.write_text("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n" %
                             self.files)
        self.environment = {**os.environ, "SOFTHSM2_CONF": str(self.conf)}
        self.util("--init-token", "--free", "--label", "aldis", "--so-pin", "87654321", "--pin", PIN)
        self.pin = self.directory / "pin"
        self.pin.write_text(PIN + "\n")
        for number, kind in enumerate(KINDS, 1):
            key = self.directory / (kind + ".p8")
            key.write_bytes(Path(make_certificate(kind + ".test", kind)[1]).read_bytes())
            self.util("--import", str(key), "--token", "aldis", "--label", kind, "--id", "%02d" % number,
                      "--pin", PIN)
            key.unlink()

    def util(self, *words):
        return run("softhsm2-util", *words, env=self.environment)

    def domains(self, **options):
        """Domains whose keys are here; options: of all of them."""
        return {kind + ".test": {"kind": kind, "key": "pkcs11:token=aldis;object=%s;type=private" % kind,
                                 "pin-file": self.pin, **options} for kind in KINDS}

    def auth(self):
        return {"pkcs11-module": MODULE, "pkcs11-paths": [self.files]}


@pytest.fixture(scope="module")
def token():
    if not Path(MODULE).exists():
        pytest.fail("SoftHSM is missing: " + MODULE)
    made = Token()
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(made.conf)
    yield made
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before
    shutil.rmtree(made.directory, True)


@pytest.fixture(scope="module")
def suite_with(programs, token):
    with Suite(domains=token.domains(), auth=token.auth()) as suite:
        yield suite


def handshake(suite, kind, version="1.3"):
    client = suite.connect()
    client.starttls(kind + ".test", version=version)
    return client


def log_in(suite, kind, version="1.3"):
    client = handshake(suite, kind, version)
    client.open(kind + ".test")
    jid = suite.account(domain=kind + ".test")
    client.login(jid, suite.password(jid), "r", "SCRAM-SHA-256-PLUS")
    client.sync()
    return client


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("kind", KINDS)
def test_handshake(suite_with, kind, version):
    before = suite_with.counter("authd", "signatures")
    log_in(suite_with, kind, version)
    assert suite_with.counter("authd", "signatures") == before + 1


def test_threads(suite_with):
    """Many handshakes at once, with all keys."""
    failures = []

    def many(kind, version):
        try:
            for _ in range(15):
                handshake(suite_with, kind, version).close()
        except Exception as reason:  # noqa: BLE001
            failures.append("%s %s: %r" % (kind, version, reason))

    threads = [threading.Thread(target=many, args=(kind, version)) for kind in KINDS for version in ("1.2", "1.3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50 * SLOW)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_authd_killed(suite_with):
    """The next one opens the token again."""
    log_in(suite_with, "rsa")
    suite_with.kill("authd")
    for kind in KINDS:
        log_in(suite_with, kind)


def test_nobody_else_has_the_pin(suite_with):
    reason = readable(suite_with.pid("c2sd.0"))
    if reason:
        pytest.skip(reason)
    needles = Needles()
    needles.add("PIN as its file has it", b"pin-file\t" + b"NDgyOTEz")
    for name, process in suite_with.status().items():
        if name != "authd":
            assert needles.find(process["pid"]) == [], name


# -- what is wrong ----------------------------------------------------------------------------------


def start_fails(domains, auth):
    """Starts a suite that must not start; returns its log."""
    suite = Suite(domains=domains, auth=auth)
    try:
        with pytest.raises(Broken):
            suite.start()
        return suite.log_text() + (suite.directory / "aldisd.err").read_text()
    finally:
        suite.end_processes()
        suite.remove()


def one(token, kind="ec", **options):
    return {kind + ".test": {**token.domains()[kind + ".test"], **options}}


def test_wrong_pin(token, tmp_path):
    (tmp_path / "pin").write_text("000000\n")
    text = start_fails(one(token, **{"pin-file": tmp_path / "pin"}), token.auth())
    assert 'PIN not given token="aldis" reason="it is wrong"' in text, text
    assert "Error in provided PIN" in text, text
    assert "aldisd: authd did not start; the log says why" in text


def test_no_pin(token):
    text = start_fails(one(token, **{"pin-file": ""}), token.auth())
    assert 'reason="none is configured"' in text, text


def test_missing_token(token):
    text = start_fails(one(token, key="pkcs11:token=elsewhere;object=ec"), token.auth())
    assert "token refused" in text and "not available" in text, text


def test_missing_object(token):
    text = start_fails(one(token, key="pkcs11:token=aldis;object=nothing"), token.auth())
    assert "token refused" in text and "not available" in text, text


def test_key_of_another_certificate(token):
    text = start_fails(one(token, key="pkcs11:token=aldis;object=p384"), token.auth())
    assert "token refused" in text, text


def test_missing_module(token):
    text = start_fails(one(token), {**token.auth(), "pkcs11-module": "/nonexistent/module.so"})
    assert "PKCS#11 module not loaded" in text, text


def test_missing_path(token):
    text = start_fails(one(token), {**token.auth(), "pkcs11-paths": ["/nonexistent/tokens"]})
    assert "PKCS#11 path not kept" in text and "/nonexistent/tokens" in text, text


def check(tmp_path, **options):
    """What aldisd -n says about a domain with these options: (status, text)."""
    certificate, _ = make_certificate("ec.test")
    lines = ["%s = \"%s\"" % item for item in {"certificate": certificate, **options}.items()]
    conf = tmp_path / "aldis.conf"
    conf.write_text('domain "ec.test" {\n%s\n}\n' % "\n".join(lines))
    done = subprocess.run([str(BUILD / "bin/aldisd"), "-n", "-c", str(conf)], capture_output=True, text=True,
                          timeout=20 * SLOW)
    return done.returncode, done.stdout + done.stderr


def test_checked_without_the_token(tmp_path):
    """aldisd -n: the URI's form, the PIN file and the certificate; not the token."""
    pin = tmp_path / "pin"
    pin.write_text("1234\n")
    uri = "pkcs11:token=nowhere;object=x;type=private"
    assert check(tmp_path, key=uri, **{"pin-file": str(pin)}) == (0, "")
    assert check(tmp_path, key=uri, **{"pin-file": "pin"}) == (0, "")  # relative to aldis.conf
    assert check(tmp_path, key="%s?pin-source=file:%s" % (uri, pin)) == (0, "")
    assert check(tmp_path, key="%s?pin-source=file://%s" % (uri, pin)) == (0, "")
    assert check(tmp_path, key=uri) == (0, "")
    two = tmp_path / "two"
    two.write_text("1234\n5678\n")
    for options, said in [
            ({"key": "pkcs11:"}, "names neither a token nor an object"),
            ({"key": "pkcs11:tokn=x"}, "RFC 7512 does not know"),
            ({"key": "pkcs11:token=x;type=cert"}, "its type is not private"),
            ({"key": uri + "?pin-value=1234"}, "pin-value is not for this file"),
            ({"key": uri + "?module-path=/x.so"}, "the module is named by pkcs11-module"),
            ({"key": uri + "?pin-source=|/bin/pin"}, "its pin-source is not file:"),
            ({"key": uri + "?pin-source=file:%2"}, "its pin-source is not file:"),
            ({"key": uri + "?pin-source=file:/nonexistent"}, "/nonexistent: No such file"),
            ({"key": uri, "pin-file": "nonexistent"}, "nonexistent: No such file"),
            ({"key": uri, "pin-file": str(two)}, "it has more than one line"),
            ({"key": uri, "pin-file": "/dev/null"}, "not a file"),
            ({"key": "%s?pin-source=file:%s" % (uri, pin), "pin-file": str(pin)}, "has a pin-source already"),
            ({"key": make_certificate("ec.test")[1], "pin-file": str(pin)}, "the key is not in a token"),
    ]:
        status, text = check(tmp_path, **options)
        assert status == 1 and said in text, (options, text)


def test_pin_source_in_use(make_suite, token):
    """The PIN may be named by the URI; the supervisor reads it."""
    key = "pkcs11:token=aldis;object=ec?pin-source=file:%s" % token.pin
    suite = make_suite(domains=one(token, key=key, **{"pin-file": ""}), auth=token.auth())
    log_in(suite, "ec")


def test_reload_to_a_token(make_suite, token):
    """From a file to a token and back."""
    suite = make_suite(domains={"ec.test": {"kind": "ec"}}, auth=token.auth())
    log_in(suite, "ec")
    for domains in (one(token), {"ec.test": {"kind": "ec"}}):
        suite.domains = domains
        suite.write_config()
        old = suite.pid("authd")
        suite.killed["authd"] = suite.killed.get("authd", 0) + 1
        suite.ctl("reload")
        suite.await_running("authd", old)
        log_in(suite, "ec")
