"""lookup.py: a DNS server on loopback that knows the servers of a test, and that there are no others.

    dns = Nameserver()
    dns.serves("prosody.example", 15269)              # _xmpp-server._tcp.prosody.example is at this port
    dns.serves("aldis.example", 5269, direct=5270)    # and _xmpps-server at that one
"""

import socket
import struct
import threading

HOST = "localhost"  # all of them are there; ejabberd asks the C library for addresses
A, SRV = 1, 33
NXDOMAIN = 3


def name_bytes(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


class Nameserver:
    """Answers from a thread until close()."""

    def __init__(self):
        self.records = {(HOST, A): [socket.inet_aton("127.0.0.1")]}   # (name, type) -> bytes of records
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.asked = []     # (name, type), as they came
        threading.Thread(target=self.run, daemon=True).start()

    def serves(self, domain, port, direct=None):
        """Says where a domain is. port, direct: None when it is not there."""
        for service, at in (("_xmpp-server", port), ("_xmpps-server", direct)):
            data = struct.pack("!HHH", 0, 0, at or 0) + name_bytes(HOST)
            self.records["%s._tcp.%s" % (service, domain), SRV] = [data] if at else []
        self.records[domain, A] = []

    def answer(self, query):
        """The answer to a query of one question; None when it is not one."""
        number, flags, questions = struct.unpack_from("!HHH", query)
        if flags & 0x8000 or questions != 1:
            return None
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode("ascii"))
            at += 1 + query[at]
        kind, _ = struct.unpack_from("!HH", query, at + 1)
        name = ".".join(labels).lower()
        self.asked.append((name, kind))
        known = any(other == name or other.endswith("." + name) for other, _ in self.records)
        found = self.records.get((name, kind), [])
        # Authoritative, recursion available; the name of a record points to that of the question.
        flags = 0x8480 | (flags & 0x0100) | (0 if known else NXDOMAIN)
        header = struct.pack("!HHHHHH", number, flags, 1, len(found), 0, 0)
        return header + query[12:at + 5] + b"".join(
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 1, len(data)) + data for data in found)

    def run(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(4096)
            except OSError:
                return
            try:
                answer = self.answer(query)
            except (struct.error, IndexError, UnicodeDecodeError):
                continue
            if answer:
                self.socket.sendto(answer, sender)

    def close(self):
        self.socket.close()
