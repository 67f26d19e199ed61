"""Rooms as the libraries of real clients use them: aioxmpp and slixmpp (XEP-0045)."""

import asyncio

import aioxmpp
import aioxmpp.muc
import pytest

from clients import slix  # noqa: F401
from rooms import DOMAIN, People  # noqa: F401
from suite import SLOW, Suite, run_async
from test_clients import aio_client, online

WAIT = 8 * SLOW


@pytest.fixture(scope="module")
def rooms_suite():
    with Suite(rooms={DOMAIN: {}}) as suite:
        yield suite


class Ears:
    """What happens in a room, as aioxmpp tells it."""

    def __init__(self, room):
        self.happened = asyncio.Queue()
        for signal in ("on_message", "on_topic_changed", "on_join", "on_leave", "on_nick_changed", "on_role_request",
                       "on_muc_role_changed", "on_muc_affiliation_changed", "on_exit"):
            if hasattr(room, signal):
                getattr(room, signal).connect(self.listener(signal))

    def listener(self, signal):
        def heard(*words, **more):
            self.happened.put_nowait((signal, words, more))

        return heard

    async def wait(self, signal, wanted=lambda words, more: True):
        while True:
            name, words, more = await asyncio.wait_for(self.happened.get(), WAIT)
            if name == signal and wanted(words, more):
                return words, more


def said(text):
    return lambda words, more: words[0].body.any() == text


def test_aioxmpp(rooms_suite):
    """Enters, is heard, sets the subject, changes a nick, is kicked and banned, and leaves."""
    a, b = rooms_suite.accounts(2)
    address = aioxmpp.JID.fromstr("aio@" + DOMAIN)

    async def talk():
        owner, guest = aio_client(rooms_suite, a, "one"), aio_client(rooms_suite, b, "two")
        rooms = owner.summon(aioxmpp.MUCClient), guest.summon(aioxmpp.MUCClient)
        async with online(owner), online(guest):
            here, entered = rooms[0].join(address, "owner")
            ears = Ears(here)
            await asyncio.wait_for(entered, WAIT)
            form = await asyncio.wait_for(rooms[0].get_room_config(address), WAIT)
            filled = aioxmpp.muc.ConfigurationForm.from_xso(form)
            filled.persistentroom.value = True
            filled.roomname.value = "For aioxmpp"
            await asyncio.wait_for(rooms[0].set_room_config(address, filled.render_reply()), WAIT)
            there, entered = rooms[1].join(address, "guest")
            other = Ears(there)
            await asyncio.wait_for(entered, WAIT)
            await ears.wait("on_join", lambda words, more: words[0].nick == "guest")
            assert {o.nick for o in there.members} == {"owner", "guest"}
            message = aioxmpp.Message(type_=aioxmpp.MessageType.GROUPCHAT)
            message.body[None] = "hello"
            here.send_message(message)
            words, _ = await other.wait("on_message", said("hello"))
            assert words[1].nick == "owner"
            await here.set_topic({None: "tests"})
            words, _ = await other.wait("on_topic_changed", lambda words, more: words[1].any() == "tests")
            await there.set_nick("visitor")
            words, _ = await ears.wait("on_nick_changed")
            assert words[1:] == ("guest", "visitor")
            await asyncio.wait_for(here.muc_set_role("visitor", "none", reason="enough"), WAIT)
            _, more = await other.wait("on_exit")
            assert more["muc_leave_mode"] == aioxmpp.muc.LeaveMode.KICKED and more["muc_reason"] == "enough"
            await asyncio.wait_for(rooms[0].set_affiliation(address, aioxmpp.JID.fromstr(b), "outcast"), WAIT)
            _, refused = rooms[1].join(address, "guest")
            with pytest.raises(aioxmpp.errors.XMPPAuthError):
                await asyncio.wait_for(refused, WAIT)
            await asyncio.wait_for(here.leave(), WAIT)

    run_async(talk(), 40)


def test_slixmpp(rooms_suite, slix):  # noqa: F811
    """The plugin of slixmpp makes a room, configures it, talks, and destroys it."""
    one, two = (slix(rooms_suite, rooms_suite.account(), available=0, plugins=("xep_0045",)) for _ in range(2))
    room = "slix@" + DOMAIN
    muc, other = one.xmpp["xep_0045"], two.xmpp["xep_0045"]
    one.run(muc.join_muc_wait(room, "one", timeout=WAIT))
    form = one.run(muc.get_room_config(room))
    form["type"] = "submit"
    form.set_values({"muc#roomconfig_persistentroom": True, "muc#roomconfig_roomname": "For slixmpp"})
    one.run(muc.set_room_config(room, form))
    two.run(other.join_muc_wait(room, "two", timeout=WAIT))
    assert set(other.get_roster(room)) == {"one", "two"}
    heard = asyncio.Queue()
    two.xmpp.add_event_handler("groupchat_message", lambda message: heard.put_nowait(message))
    one.xmpp.send_message(mto=room, mbody="hello", mtype="groupchat")
    message = two.run(asyncio.wait_for(heard.get(), WAIT))
    assert message["body"] == "hello" and message["mucnick"] == "one"
    one.run(muc.set_affiliation(room, "member", jid=two.xmpp.boundjid.bare))
    assert two.xmpp.boundjid.bare in one.run(muc.get_affiliation_list(room, "member"))
    one.run(muc.destroy(room, reason="done"))
    with pytest.raises(Exception):
        one.run(muc.get_room_config(room))
