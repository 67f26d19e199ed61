"""What the server says of itself: contact addresses (XEP-0157, 0128), entity capabilities (XEP-0115)."""

import base64
import hashlib

import pytest

from clients import slix  # noqa: F401
from raw import NS, condition, local, q, text
from suite import DOMAINS

INFO = NS["disco#info"]
FORM = "http://jabber.org/network/serverinfo"
CONTACTS = {
    "contact-abuse": ["mailto:abuse@localhost", "xmpp:abuse@localhost"],
    "contact-admin": ["https://localhost/?a=1&b='2'"],
    "contact-status": ["https://status.localhost/"],
}


def form_of(answer):
    """{field: values} of the data form in a disco#info result, without FORM_TYPE; None without a form."""
    forms = answer.findall(".//" + q("data", "x"))
    if not forms:
        return None
    assert len(forms) == 1 and forms[0].get("type") == "result", text(answer)
    fields = {field.get("var"): [value.text for value in field] for field in forms[0]}
    assert fields.pop("FORM_TYPE") == [FORM]
    return fields


def ver_of(answer):
    """The verification string of a disco#info result (XEP-0115 section 5.1)."""
    s = "".join(sorted("%s/%s/%s/%s<" % (i.get("category"), i.get("type"), "", i.get("name", ""))
                       for i in answer.iter(q("disco#info", "identity"))))
    s += "".join(sorted(f.get("var") + "<" for f in answer.iter(q("disco#info", "feature"))))
    for var, values in sorted((form_of(answer) or {}).items()):
        s += (FORM + "<" if FORM not in s else "") + var + "<" + "".join(v + "<" for v in sorted(values))
    return base64.b64encode(hashlib.sha1(s.encode()).digest()).decode()


def info(client, to="localhost", node=None):
    return client.iq("get", "<query xmlns='%s'%s/>" % (INFO, " node='%s'" % node if node else ""), to=to)


def caps(suite, jid):
    """The <c/> in the features of a stream that has authenticated."""
    client = suite.stream(domain=jid.partition("@")[2])
    client.authenticate("PLAIN", jid.partition("@")[0], suite.password(jid))
    features = client.open(jid.partition("@")[2])
    client.close()
    found = features.findall(q("caps", "c"))
    assert len(found) == 1 and found[0].get("hash") == "sha-1", text(features)
    return found[0]


@pytest.fixture
def contacts(make_suite):
    return make_suite(domains={**DOMAINS, "localhost": CONTACTS})


# -- contact addresses --------------------------------------------------------------------------------


def test_contacts(contacts):
    client = contacts.login(contacts.account())
    assert form_of(info(client)) == {
        "abuse-addresses": CONTACTS["contact-abuse"], "admin-addresses": CONTACTS["contact-admin"],
        "status-addresses": CONTACTS["contact-status"]}
    assert form_of(info(client, to="example.test")) is None
    assert form_of(info(client, to=client.jid.partition("/")[0])) is None


def test_contacts_with_slixmpp(contacts, slix):  # noqa: F811
    client = slix(contacts, contacts.account(), plugins=["xep_0030", "xep_0004", "xep_0128"])
    answer = client.run(client.xmpp["xep_0030"].get_info(jid="localhost"))["disco_info"]
    values = answer["form"]["values"]
    assert values["FORM_TYPE"] in (FORM, [FORM])
    assert values["abuse-addresses"] == CONTACTS["contact-abuse"]


def test_reload(contacts):
    """Contact addresses change while the router runs, and the hash with them, also on streams of all c2sd."""
    juliet = contacts.account()
    client = contacts.login(juliet)
    before = caps(contacts, juliet).get("ver")
    pid = contacts.pid("router")
    contacts.domains = {**DOMAINS, "localhost": {"contact-sales": ["tel:+1"]}}
    contacts.write_config()
    contacts.ctl("reload")
    assert contacts.pid("router") == pid
    assert form_of(info(client)) == {"sales-addresses": ["tel:+1"]}
    after = caps(contacts, juliet).get("ver")
    assert after not in (before, None) and after == ver_of(info(client))
    client.sync()


# -- entity capabilities --------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_caps(contacts, domain):
    """The hash is that of what the server answers, with the node and without."""
    juliet = contacts.account(domain=domain)
    c = caps(contacts, juliet)
    client = contacts.login(juliet)
    plain = info(client, to=domain)
    assert NS["caps"] in {f.get("var") for f in plain.iter(q("disco#info", "feature"))}
    assert c.get("ver") == ver_of(plain)
    node = c.get("node") + "#" + c.get("ver")
    answer = info(client, to=domain, node=node)
    assert answer.find(q("disco#info", "query")).get("node") == node
    assert ver_of(answer) == c.get("ver")


def test_caps_of_a_domain_are_its_own(contacts):
    here, there = contacts.account(), contacts.account(domain="example.test")
    one, other = caps(contacts, here), caps(contacts, there)
    assert one.get("ver") != other.get("ver")
    client = contacts.login(here)
    answer = info(client, node=other.get("node") + "#" + other.get("ver"))
    assert condition(answer) == "item-not-found"


@pytest.mark.parametrize("node", ("{node}", "{node}#", "{node}#{ver}=", "{node}#{upper}", "x#{ver}", "{ver}"))
def test_caps_node_unknown(suite, node):
    juliet = suite.account()
    c = caps(suite, juliet)
    node = node.format(node=c.get("node"), ver=c.get("ver"), upper=c.get("ver").swapcase())
    client = suite.login(juliet)
    assert condition(info(client, node=node)) == "item-not-found"
    assert condition(info(client, to=juliet, node=node)) == "item-not-found"


def test_caps_with_slixmpp(contacts, slix):  # noqa: F811
    """slixmpp finds the hash that it computes itself."""
    juliet = contacts.account()
    client = slix(contacts, juliet, plugins=["xep_0030", "xep_0004", "xep_0115", "xep_0128"])
    answer = client.run(client.xmpp["xep_0030"].get_info(jid="localhost", cached=False))["disco_info"]
    ver = client.xmpp["xep_0115"].generate_verstring(answer, "sha-1")
    assert ver == caps(contacts, juliet).get("ver")


def test_caps_after_restarts(make_suite):
    """Restarts change no hash: what a daemon serves is said while it is away."""
    suite = make_suite()
    juliet = suite.account()
    before = caps(suite, juliet).get("ver")
    client = suite.login(juliet)
    for name in ("authd", "archived", "router"):
        suite.kill(name)
        client.sync()
        assert ver_of(info(client)) == before
        assert caps(suite, juliet).get("ver") == before
    assert not [e for e in client.pending() if local(e) != "iq"]
