"""memory.py: looks for secrets in the memory of processes.

    needles = Needles()
    needles.key("localhost", "/path/of/key.pem")       # every form that a library may give it
    needles.secret("password", b"open sesame")          # raw, base64, hexadecimal
    assert needles.find(pid) == []                      # names of what is there, with the mapping

Needs the right to read another process's memory: readable(pid) says why not. Numbers are looked for as bytes
from the most significant one (DER, PKCS#11) and from the least (the limbs of GMP and nettle), and by
pieces, so that a part of one that was overwritten is found too.
"""

import base64
import hashlib
import re
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key)

CHUNK = 1 << 16
ZEROS = bytes(CHUNK)
PIECE = 16           # bytes: more than chance brings
TEXT_PIECE = 32      # characters of base64
REGION_MAX = 1 << 30  # of a mapping; a store maps more than it has


def readable(pid):
    """None when the memory of a process can be read, else why not."""
    try:
        for start, _, _ in mappings(pid):
            with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
                memory.seek(start)
                memory.read(1)
            return None
    except OSError as reason:
        return "the memory of another process cannot be read: %s" % reason
    return "no mapping of process %d is readable" % pid


def mappings(pid):
    """(start, end, name) of what a process can read, without what the kernel lends it, and without the
    parts of programs and libraries that nobody writes to."""
    for line in Path("/proc/%d/maps" % pid).read_text().splitlines():
        found = re.match(r"([0-9a-f]+)-([0-9a-f]+) (r\S\S\S) \S+ \S+ \d+ *(.*)", line)
        if not found or found[4].startswith(("[vvar", "[vsyscall", "[vdso")):
            continue
        if found[4].startswith("/") and found[3] in ("r--p", "r-xp"):
            continue
        yield int(found[1], 16), int(found[2], 16), found[4] or "anonymous"


def contents(pid):
    """(name, bytes) of pieces of a process's memory; they overlap, so that nothing falls in between."""
    overlap = 256
    with open("/proc/%d/mem" % pid, "rb", buffering=0) as memory:
        for start, end, name in mappings(pid):
            run = b""
            for at in range(start, min(end, start + REGION_MAX), CHUNK):
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK, end - at))
                except (OSError, ValueError):
                    break  # behind the end of a mapped file
                if data == ZEROS:
                    if run:
                        yield name, run
                    run = b""
                    continue
                run += data
                if len(run) >= 16 * CHUNK:
                    yield name, run
                    run = run[-overlap:]
            if run:
                yield name, run


def pieces(data, size):
    """The beginning, middle and end of data, in so many bytes each."""
    if len(data) <= size:
        return [data]
    middle = (len(data) - size) // 2
    return [data[:size], data[middle:middle + size], data[-size:]]


class Needles:
    """What is looked for: bytes with a name."""

    def __init__(self):
        self.named = {}

    def add(self, name, data):
        assert len(data) >= 8, name
        self.named[data] = name

    def secret(self, name, data):
        """Some bytes, and how text would have them."""
        self.add(name, data)
        self.add(name + ", hexadecimal", data.hex().encode())
        for lead in range(3):  # base64 of something that has them at any place
            text = base64.b64encode(b"\0" * lead + data)
            self.add(name + ", base64", text[4 if lead else 0:-4])

    def number(self, name, value, size):
        """A number of so many bytes, from either end."""
        for piece in pieces(value.to_bytes(size, "big"), PIECE):
            self.add(name, piece)
        for piece in pieces(value.to_bytes(size, "little"), PIECE):
            self.add(name + ", little-endian", piece)

    def key(self, name, path):
        """A private key in a PEM file: its text, that text in base64 as aldisd hands it on, its numbers."""
        text = Path(path).read_bytes()
        key = load_pem_private_key(text, None)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for line in text.splitlines():
            if not line.startswith(b"-----") and base64.b64decode(line + b"==") not in public:
                self.add("PEM of " + name, line)
        for piece in pieces(base64.b64encode(text)[:-96], TEXT_PIECE):  # the end has the public key
            self.add("slice of " + name, piece)
        if isinstance(key, rsa.RSAPrivateKey):
            numbers = key.private_numbers()
            size = key.key_size // 8
            self.number("d of " + name, numbers.d, size)
            for part in ("p", "q", "dmp1", "dmq1", "iqmp"):
                self.number("%s of %s" % (part, name), getattr(numbers, part), size // 2)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            self.number("scalar of " + name, key.private_numbers().private_value, (key.key_size + 7) // 8)
        elif isinstance(key, ed25519.Ed25519PrivateKey):
            seed = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
            self.secret("seed of " + name, seed)
            digest = hashlib.sha512(seed).digest()
            for part in (digest[1:31], digest[32:]):  # clamping changes the bytes at the ends
                self.add("expanded seed of " + name, part)

    def find(self, pid):
        """What is there: a sorted list of "name in mapping"."""
        found = set()
        for mapping, data in contents(pid):
            found |= {"%s in %s" % (name, mapping) for needle, name in self.named.items() if needle in data}
        return sorted(found)

    def names(self, pid):
        """The names alone."""
        return {f.rpartition(" in ")[0] for f in self.find(pid)}
