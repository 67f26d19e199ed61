"""vCard-based avatars (XEP-0153): the photo is in the vCard, its hash in presence."""

import hashlib

from clients import befriend, slix  # noqa: F401
from raw import q, text

UPDATE = "vcard-temp:x:update"
PHOTO = bytes(range(256)) * 20


def photo_of(presence):
    update = presence.find(q(UPDATE, "x"))
    return update.findtext(q(UPDATE, "photo")) if update is not None else None


def test_hash_in_presence(suite):
    """It passes as it was sent, also to who comes later, and an empty one is another matter than none."""
    juliet, romeo = (suite.login(suite.account(), available=0) for _ in range(2))
    befriend(juliet, romeo)
    for photo, wanted in (("<photo>%s</photo>" % ("a" * 40), "a" * 40), ("<photo/>", ""), ("", None)):
        juliet.send("<presence><x xmlns='%s'>%s</x></presence>" % (UPDATE, photo))
        assert photo_of(romeo.wait(lambda e: e.get("from") == juliet.jid)) == wanted
        late = suite.login(romeo.jid.partition("/")[0], available=0)
        assert photo_of(late.wait(lambda e: e.get("from") == juliet.jid)) == wanted
        late.end()


def test_slixmpp(suite, slix):  # noqa: F811
    """One sets its avatar; the other sees the hash change, and gets a photo that has it."""
    plugins = ("xep_0054", "xep_0153")
    one, two = (slix(suite, suite.account(), "r", plugins=plugins) for _ in range(2))
    befriend(one, two)
    assert one.iq("set", "<vCard xmlns='vcard-temp'><FN>One</FN></vCard>").get("type") == "result"
    one.xmpp.send_presence()
    two.xmpp.send_presence()
    seen = []
    two.xmpp.add_event_handler("vcard_avatar_update", lambda p: (seen.append(p), two.news.set()))
    one.run(one.xmpp["xep_0153"].set_avatar(avatar=PHOTO, mtype="image/png"))
    one.xmpp.send_presence()
    wanted = hashlib.sha1(PHOTO).hexdigest()
    two.until(lambda: [p for p in seen if p["from"] == one.jid and p["vcard_temp_update"]["photo"] == wanted])
    card = two.run(two.xmpp["xep_0054"].get_vcard(one.bare, local=False, cached=False))["vcard_temp"]
    assert hashlib.sha1(card["PHOTO"]["BINVAL"]).hexdigest() == wanted, text(card.xml)
    assert card["PHOTO"]["TYPE"] == "image/png"
