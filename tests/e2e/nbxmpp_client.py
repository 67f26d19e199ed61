"""nbxmpp_client.py: a client with nbxmpp, gajim's library, in a process of its own, since it wants GLib's loop.

usage: nbxmpp_client.py HOST:PORT CA JID/RESOURCE < password and commands, a line each: "say JID WORDS", "history",
"carbons", "end". It prints what happens, a line of JSON each."""

import json
import os
import sys

import gi

gi.require_version("Soup", "3.0")

from gi.repository import Gio, GLib  # noqa: E402
from nbxmpp.client import Client  # noqa: E402
from nbxmpp.const import ConnectionProtocol, ConnectionType  # noqa: E402
from nbxmpp.namespaces import Namespace  # noqa: E402
from nbxmpp.protocol import Iq, Message, Presence  # noqa: E402
from nbxmpp.structs import StanzaHandler  # noqa: E402

address, ca, full = sys.argv[1:]
jid, _, resource = full.partition("/")
commands = os.fdopen(0, "rb", buffering=0)  # what was not read the loop sees
loop = GLib.MainLoop()
client = Client()


def tell(what, **more):
    print(json.dumps({"what": what, **more}), flush=True)


def on_message(_client, stanza, properties):
    if not stanza.getBody():
        return
    tell("message", words=stanza.getBody(), sender=str(stanza.getFrom()),
         carbon=None if properties.carbon is None else properties.carbon.type,
         archived=properties.mam is not None)


def on_history(task):
    try:
        page = task.finish()
        tell("history", complete=page.complete)
    except Exception as error:
        tell("failed", error=repr(error))


def on_carbons(_client, stanza):
    tell("carbons", enabled=stanza.getType() == "result")


def command(line):
    word, _, rest = line.partition(" ")
    if word == "say":
        to, _, words = rest.partition(" ")
        client.send_stanza(Message(to=to, body=words, typ="chat"))
    elif word == "history":
        client.get_module("MAM").make_query(client.get_bound_jid().bare, queryid="q", max_=50, callback=on_history)
    elif word == "carbons":
        iq = Iq("set")
        iq.addChild("enable", namespace=Namespace.CARBONS)
        client.send_stanza(iq, callback=on_carbons)
    elif word == "end":
        client.disconnect()


def next_line():
    return commands.readline().decode().rstrip("\n")


def on_input(*_):
    line = next_line()
    if not line:
        loop.quit()
        return False
    command(line)
    return True


def on_login(*_):
    client.send_stanza(Presence())
    tell("login", jid=str(client.get_bound_jid()))
    GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN | GLib.IOCondition.HUP, on_input)


def on_end(*_):
    tell("end", error=[str(e) for e in client.get_error()])
    loop.quit()


client.set_domain(jid.partition("@")[2])
client.set_username(jid.partition("@")[0])
client.set_resource(resource)
client.set_password(next_line())
client.set_custom_host(address, ConnectionProtocol.TCP, ConnectionType.START_TLS)
client.set_accepted_certificates(Gio.TlsCertificate.list_new_from_file(ca))
for signal, handler in (("connected", on_login), ("disconnected", on_end), ("connection-failed", on_end)):
    client.subscribe(signal, handler)
client.register_handler(StanzaHandler(name="message", callback=on_message, priority=50))
client.connect()
GLib.timeout_add_seconds(60, loop.quit)
loop.run()
