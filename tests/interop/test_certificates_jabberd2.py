"""Certificates that are not good, between jabberd2 and a suite of ours.

It has one certificate for all of its domains and no SASL between servers: it proves itself by dialback, or not at all. What
it thinks of ours it does not say, since it does not look.
"""

import pytest

from certificates import Pair, answer_to, failed, refusal
from conversation import bodies
from peers import Jabberd2
from raw import text
from test_peer_dns import pick

ROWS = [
    # its certificate, by what it may prove itself, what is wrong with it, the reason
    ("good", "certificate", None, "It does not accept our certificate"),
    ("expired", "certificate", "dates", "expired"),
    ("revoked", "certificate", "crl", "revoked"),
    ("danewrong", "dialback", "dane", "TLSA"),
    ("selfmade", "dialback", "chain", None),  # None: dialback is enough
]


@pytest.mark.parametrize("kind, authentication, check, reason", ROWS)
def test_its_certificate(kind, authentication, check, reason):
    with Pair(Jabberd2, theirs=[], ours=[], own=kind, s2s={"authentication": authentication}) as pair:
        domain = pair.peer.domain
        juliet = pair.ours.login(pair.ours.account(), "balcony", available=0)
        romeo = pair.peer.login(pair.peer.account(), "orchard", available=0)
        if reason is None:
            juliet.say(romeo.jid, "O")
            assert bodies(romeo, 1) == ["O"]
            assert answer_to(romeo, juliet) is None
            steps = pair.attempt(domain, "out")["steps"]
            assert check in failed(steps) and pick(steps, "authentication", mechanism="dialback", verdict="ok"), steps
        else:
            assert refusal(juliet, domain) == "remote-server-timeout"
            attempt = pair.attempt(domain, "out")
            assert reason in (failed(attempt["steps"])[check] if check else attempt["result"]), attempt
            error = answer_to(romeo, juliet)
            assert error is not None, text(error)
            attempt = pair.attempt(domain, "in")
            assert attempt["verdict"] == "failed", attempt
        pair.ours.check()
